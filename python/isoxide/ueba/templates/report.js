// Sort and filter the findings. Without this script the page shows all of them, the highest score first.
(function () {
  "use strict";
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  // A number refers to a long text, which the page holds once.
  const fullText = (text) => (typeof text === "number" ? find("full-" + text).textContent : text);
  const features = data.features.map((name) => fullText(name).toLowerCase());
  const list = find("cards");
  const fields = ["text", "sort", "month", "from", "to", "direction"].map(find);
  const [text, sort, month, from, to, direction] = fields;
  const compare = new Intl.Collator("en", { numeric: true }).compare;

  const elements = list.children;
  const cards = data.cards.map(([name, joined, rows], i) => ({
    element: elements[i],
    name: fullText(name),
    searchText: [name, ...joined].map(fullText).join(" ").toLowerCase(),
    rows: rows.map(([number, day, signs, neutral]) => ({ element: find("finding-" + number), number, day, signs, neutral })),
  }));
  const total = cards.reduce((sum, card) => sum + card.rows.length, 0);

  // Orders compare cards by their findings that match the filters.
  const first = (a, b) => a.matching[0].number - b.matching[0].number;
  const latest = (card) => card.matching.reduce((day, row) => (row.day > day ? row.day : day), "");
  const orders = {
    score: first,
    count: (a, b) => b.matching.length - a.matching.length || first(a, b),
    name: (a, b) => compare(a.name, b.name) || first(a, b),
    latest: (a, b) => (a.day < b.day ? 1 : a.day > b.day ? -1 : first(a, b)),
  };

  const show = (element, isShown) => {
    if (element.hidden === isShown) element.hidden = !isShown;
  };
  const countText = (number, total, noun) =>
    number.toLocaleString("en") + " of " + total.toLocaleString("en") + " " + noun;

  function matches(row, wanted, sign) {
    if (from.value && row.day < from.value) return false;
    if (to.value && row.day > to.value) return false;
    const signs = sign ? row.signs.filter((feature) => feature * sign > 0) : row.signs.concat(row.neutral);
    if (sign && !signs.length) return false;
    return wanted.every((hits) => signs.some((feature) => hits[Math.abs(feature) - 1]));
  }

  function update() {
    const terms = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = new Map(terms.map((term) => [term, features.map((name) => name.includes(term))]));
    const sign = Number(direction.value);
    let count = 0;
    for (const card of cards) {
      // Search terms that do not occur in the name must occur in the features.
      const wanted = terms.filter((term) => !card.searchText.includes(term)).map((term) => hits.get(term));
      card.matching = card.rows.filter((row) => {
        const isMatch = matches(row, wanted, sign);
        show(row.element, isMatch);
        return isMatch;
      });
      show(card.element, card.matching.length > 0);
      count += card.matching.length;
    }
    const left = cards.filter((card) => card.matching.length);
    arrange(left);
    find("none").hidden = count > 0;
    find("status").textContent =
      countText(count, total, "findings") + ", " + countText(left.length, cards.length, "entities");
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
    // Move only cards that are shown and not yet in this order, since moving is slow.
    let next = list.firstElementChild;
    for (const card of left) {
      while (next && next.hidden) next = next.nextElementSibling;
      if (next === card.element) next = next.nextElementSibling;
      else list.insertBefore(card.element, next);
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

  // Show the finding that a link leads to, even if it is filtered out.
  function follow() {
    const target = /^#f(inding|ull)-\d+$/.test(location.hash) && find(location.hash.slice(1));
    if (!target) return;
    const folded = target.closest("details");
    if (folded) folded.open = true;
    if (target.closest("[hidden]")) clear();
    settle(target, 4);
  }

  // Cards get their height when they come near the window, which moves those below them, so scroll until nothing moves.
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
    // The end of the month is day 0 of the next one.
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
    // A name that is cut is searched for by its beginning, without the dots.
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
  // Show the full text of a cut one under the pointer.
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
