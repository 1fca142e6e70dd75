// Sorting and filtering. Without it the page shows everything, the lowest score first.
(function () {
  "use strict";
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  // Long texts are in the page once; a number stands for them.
  const whole = (text) => (typeof text === "number" ? find("full-" + text).textContent : text);
  const features = data.features.map((name) => whole(name).toLowerCase());
  const list = find("cards");
  const fields = ["text", "sort", "month", "from", "to", "direction"].map(find);
  const [text, sort, month, from, to, direction] = fields;
  const compare = new Intl.Collator("en", { numeric: true }).compare;

  const elements = list.children;
  const cards = data.cards.map(([name, known, rows], i) => ({
    element: elements[i],
    name: whole(name),
    words: [name, ...known].map(whole).join(" ").toLowerCase(),
    rows: rows.map(([number, day, signs, neutral]) => ({ element: find("finding-" + number), number, day, signs, neutral })),
  }));
  const total = cards.reduce((sum, card) => sum + card.rows.length, 0);

  // Each is told of a card the findings that match.
  const first = (a, b) => a.found[0].number - b.found[0].number;
  const latest = (card) => card.found.reduce((day, row) => (row.day > day ? row.day : day), "");
  const orders = {
    score: first,
    count: (a, b) => b.found.length - a.found.length || first(a, b),
    name: (a, b) => compare(a.name, b.name) || first(a, b),
    latest: (a, b) => (a.day < b.day ? 1 : a.day > b.day ? -1 : first(a, b)),
  };

  const show = (element, yes) => {
    if (element.hidden === yes) element.hidden = !yes;
  };
  const many = (number, of, noun) =>
    number.toLocaleString("en") + " of " + of.toLocaleString("en") + " " + noun;

  function matches(row, wanted, sign) {
    if (from.value && row.day < from.value) return false;
    if (to.value && row.day > to.value) return false;
    const signs = sign ? row.signs.filter((one) => one * sign > 0) : row.signs.concat(row.neutral);
    if (sign && !signs.length) return false;
    return wanted.every((hits) => signs.some((one) => hits[Math.abs(one) - 1]));
  }

  function update() {
    const terms = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = new Map(terms.map((term) => [term, features.map((name) => name.includes(term))]));
    const sign = Number(direction.value);
    let count = 0;
    for (const card of cards) {
      // Words that the name does not have must be in the features.
      const wanted = terms.filter((term) => !card.words.includes(term)).map((term) => hits.get(term));
      card.found = card.rows.filter((row) => {
        const yes = matches(row, wanted, sign);
        show(row.element, yes);
        return yes;
      });
      show(card.element, card.found.length > 0);
      count += card.found.length;
    }
    const left = cards.filter((card) => card.found.length);
    arrange(left);
    find("none").hidden = count > 0;
    find("status").textContent =
      many(count, total, "findings") + ", " + many(left.length, cards.length, "entities");
  }

  let byDay = false;
  function arrange(left) {
    if (sort.value === "latest") for (const card of left) card.day = latest(card);
    left.sort(orders[sort.value]);
    if (byDay !== (sort.value === "latest")) {
      byDay = !byDay;
      for (const card of cards) {
        if (card.rows.length < 2) continue;
        const rows = byDay ? card.rows.slice().sort((a, b) => (a.day < b.day ? 1 : a.day > b.day ? -1 : 0)) : card.rows;
        card.element.append(...rows.map((row) => row.element));
      }
    }
    // Only what is shown is moved, and only if it is not in this order already.
    let place = list.firstElementChild;
    for (const card of left) {
      while (place && place.hidden) place = place.nextElementSibling;
      if (place === card.element) place = place.nextElementSibling;
      else list.insertBefore(card.element, place);
    }
  }

  function clear() {
    for (const field of fields) if (field !== sort) field.value = "";
    update();
  }

  function day(value) {
    month.value = "";
    from.value = to.value = value;
    update();
    find("findings").scrollIntoView();
  }

  // A link to a finding that is filtered away shows it.
  function follow() {
    const target = /^#f(inding|ull)-\d+$/.test(location.hash) && find(location.hash.slice(1));
    if (!target) return;
    const folded = target.closest("details");
    if (folded) folded.open = true;
    if (target.closest("[hidden]")) clear();
    settle(target, 4);
  }

  // Cards get their height when they come near the window, which moves what is below them: again until nothing moves.
  function settle(target, times) {
    target.scrollIntoView();
    if (times) requestAnimationFrame(() => settle(target, times - 1));
  }

  text.addEventListener("input", update);
  sort.addEventListener("change", update);
  direction.addEventListener("change", update);
  for (const field of [from, to]) {
    field.addEventListener("change", () => {
      month.value = "";
      update();
    });
  }
  month.addEventListener("change", () => {
    // Days are compared as text: none is after the 31st.
    const last = month.value && new Date(Date.UTC(+month.value.slice(0, 4), +month.value.slice(5), 0));
    from.value = month.value && month.value + "-01";
    to.value = last && last.toISOString().slice(0, 10);
    update();
  });
  find("clear").addEventListener("click", clear);
  find("controls").addEventListener("submit", (event) => event.preventDefault());
  find("plot").addEventListener("click", (event) => {
    if (event.target.dataset.day) day(event.target.dataset.day);
  });
  for (const item of document.querySelectorAll(".frequent li")) {
    const button = document.createElement("button");
    // Of a name that is cut the beginning, without the dots.
    const name = item.firstElementChild.firstChild.textContent.trim();
    button.type = "button";
    button.append(...item.childNodes);
    button.addEventListener("click", () => {
      text.value = name;
      update();
      find("findings").scrollIntoView();
    });
    item.append(button);
  }
  // Under the pointer a text that is cut shows itself in full.
  document.addEventListener("pointerover", (event) => {
    const link = event.target.closest && event.target.closest(".more");
    if (link && !link.title) link.title = find(link.hash.slice(1)).textContent;
  });
  window.addEventListener("hashchange", follow);

  find("controls").hidden = false;
  for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
  document.documentElement.classList.add("live");
  update();
  follow();
})();
