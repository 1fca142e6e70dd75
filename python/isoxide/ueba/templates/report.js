// Sort and filter the findings, keep the filters in the address, and show the findings of one entity. Without this
// script the page shows all findings, the highest score first.
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
  // The entity whose findings are shown alone, or null for all.
  let person = null;
  // The state of findings that is shown, or empty for all. New findings come first, if there are any.
  const chips = [...document.querySelectorAll("#states button")];
  const firstState = chips.some((chip) => chip.dataset.state === "new") ? "new" : "";
  let state = firstState;

  const elements = list.children;
  const cards = data.cards.map(([name, joined, rows], i) => ({
    element: elements[i],
    name: fullText(name),
    searchText: [name, ...joined].map(fullText).join(" ").toLowerCase(),
    rows: rows.map(([id, day, signs, neutral, , score, , state]) => {
      return { element: find(id), score, id, day, signs, neutral, state };
    }),
  }));
  const total = cards.reduce((sum, card) => sum + card.rows.length, 0);
  cards.forEach((card, position) => (card.position = position));

  // Orders compare cards by their findings that match the filters. Cards come in the order of their highest scores.
  const best = (card) => card.matching[0].score;
  const first = (a, b) => best(b) - best(a) || a.position - b.position;
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
  const countText = (number, total) => number.toLocaleString("en") + " of " + total.toLocaleString("en");

  function matches(row, wanted, sign) {
    if (state && row.state !== state) return false;
    if (from.value && row.day < from.value) return false;
    if (to.value && row.day > to.value) return false;
    const signs = sign ? row.signs.filter((feature) => feature * sign > 0) : row.signs.concat(row.neutral);
    if (sign && !signs.length) return false;
    return wanted.every(
      ([term, hits]) => (term.length > 5 && row.id.startsWith(term)) || signs.some((feature) => hits[Math.abs(feature) - 1]),
    );
  }

  function update() {
    const terms = text.value.toLowerCase().split(/\s+/).filter(Boolean);
    const hits = terms.map((term) => [term, features.map((name) => name.includes(term))]);
    const sign = Number(direction.value);
    let count = 0;
    for (const card of cards) {
      const isWanted = person === null || card.name === person;
      // Search terms that do not occur in the name must occur in the features or begin the id.
      const wanted = hits.filter(([term]) => !card.searchText.includes(term));
      card.matching = isWanted ? card.rows.filter((row) => matches(row, wanted, sign)) : [];
      show(card.element, card.matching.length > 0);
      // The findings of a hidden card need not be hidden, which would be slow.
      if (card.matching.length) for (const row of card.rows) show(row.element, card.matching.includes(row));
      count += card.matching.length;
    }
    const left = cards.filter((card) => card.matching.length);
    arrange(left);
    find("none").hidden = count > 0;
    find("status").textContent =
      countText(count, total) + " findings, " + countText(left.length, cards.length) + " " + fullText(data.entities);
    writeAddress();
  }

  // Moving cards is slow, so the first ones are moved at once and the others in slices, unless the order changes again.
  const SLICE = 100;
  let pending = 0;
  function arrange(left) {
    if (sort.value === "latest") for (const card of left) card.day = latest(card);
    left.sort(orders[sort.value]);
    const byDay = sort.value === "latest";
    let next = list.firstElementChild;
    let position = 0;
    clearTimeout(pending);
    function step() {
      const end = Math.min(position + SLICE, left.length);
      for (; position < end; position += 1) {
        const card = left[position];
        if (card.byDay !== byDay) arrangeRows(card, byDay);
        // Move only cards that are shown and not yet in this order.
        while (next && next.hidden) next = next.nextElementSibling;
        if (next === card.element) next = next.nextElementSibling;
        else list.insertBefore(card.element, next);
      }
      if (position < left.length) pending = setTimeout(step);
    }
    step();
  }

  function arrangeRows(card, byDay) {
    if (card.rows.length > 1 && (byDay || card.byDay)) {
      const rows = byDay ? card.rows.slice().sort((a, b) => (a.day < b.day ? 1 : a.day > b.day ? -1 : 0)) : card.rows;
      card.element.append(...rows.map((row) => row.element));
    }
    card.byDay = byDay;
  }

  // In the frame of a notebook the page has no address of its own, and links would be taken as those of the notebook.
  const isFramed = location.href.startsWith("about:srcdoc");
  const addressOf = (hash) => (isFramed ? "about:srcdoc" + hash : hash || location.pathname + location.search);
  if (isFramed) {
    document.addEventListener("click", (event) => {
      const link = event.target.closest('a[href^="#"]');
      if (!link || event.defaultPrevented) return;
      event.preventDefault();
      const hash = link.getAttribute("href");
      if (location.hash === hash) readAddress();
      else location.hash = hash;
    });
  }

  // The address holds the filters that differ from their defaults, so that a link shows the same view.
  const defaults = { sort: "score" };
  let isReading = false;
  function writeAddress() {
    if (isReading) return;
    const hashed = new URLSearchParams();
    for (const field of fields) {
      const isDefault = field.value === (defaults[field.id] || "");
      // A month is a choice of the first and the last day.
      if (!isDefault && !(month.value && (field === from || field === to))) hashed.set(field.id, field.value);
    }
    if (state !== firstState) hashed.set("state", state || "all");
    if (person !== null) hashed.set("entity", person);
    const hash = String(hashed) && "#" + hashed;
    if (hash !== location.hash) history.replaceState(null, "", addressOf(hash));
  }

  // Show what the address asks for: filters, or the finding or text that it names.
  function readAddress() {
    const hash = location.hash.slice(1);
    if (!hash.includes("=")) {
      follow(hash);
      return;
    }
    const hashed = new URLSearchParams(hash);
    isReading = true;
    for (const field of fields) {
      let value = hashed.get(field.id) || defaults[field.id] || "";
      // The browser warns about a text that is no day.
      if (field.type === "date" && !/^\d{4}-\d\d-\d\d$/.test(value)) value = "";
      field.value = value;
      // An unknown choice of an edited address becomes the default.
      if (field.value !== value) field.value = defaults[field.id] || "";
    }
    if (month.value) chooseMonth();
    const name = hashed.get("entity");
    showPerson(cards.some((card) => card.name === name) ? name : null);
    const wanted = hashed.get("state") === "all" ? "" : hashed.get("state");
    chooseState(chips.some((chip) => chip.dataset.state === wanted) ? wanted : firstState);
    update();
    isReading = false;
  }

  function chooseMonth() {
    // The end of the month is day 0 of the next one.
    const last = month.value && new Date(Date.UTC(+month.value.slice(0, 4), +month.value.slice(5), 0));
    from.value = month.value && month.value + "-01";
    to.value = last && last.toISOString().slice(0, 10);
  }

  function chooseState(value) {
    state = value;
    for (const chip of chips) chip.setAttribute("aria-pressed", String(chip.dataset.state === state));
  }

  function showPerson(name) {
    person = name;
    find("person").hidden = name === null;
    find("person-name").textContent = name === null ? "" : fullText(data.entity) + " " + name;
    document.documentElement.classList.toggle("one", name !== null);
    if (name === null) return;
    const card = cards.find((own) => own.name === name).element;
    const compared = card.querySelector(".compared");
    if (compared) compared.open = true;
  }

  function clear() {
    for (const field of fields) if (field !== sort) field.value = "";
    showPerson(null);
    chooseState("");
    update();
  }

  function day(value) {
    month.value = "";
    from.value = to.value = value;
    update();
    find("findings").scrollIntoView();
  }

  // Show the finding or full text that a link leads to, even if it is filtered out.
  function follow(id) {
    const target = /^[0-9a-f]{12}(-\d+)?$|^full-\d+$/.test(id) && find(id);
    if (!target) return;
    const folded = target.closest("details");
    if (folded) folded.open = true;
    if (target.closest("[hidden]")) {
      isReading = true;
      clear();
      isReading = false;
    }
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
    chooseMonth();
    update();
  });
  find("clear").addEventListener("click", clear);
  for (const chip of chips) {
    chip.addEventListener("click", () => {
      chooseState(chip.dataset.state);
      update();
    });
  }
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
  // A click on a name shows the findings of this entity alone.
  list.addEventListener("click", (event) => {
    const link = event.target.closest("a.name");
    if (!link) return;
    event.preventDefault();
    const card = cards.find((own) => own.element === link.closest(".card"));
    // All findings of the entity are shown, whatever their state.
    history.pushState(null, "", addressOf("#" + new URLSearchParams({ state: "all", entity: card.name })));
    readAddress();
    find("person").scrollIntoView();
    find("person-name").focus();
  });
  find("back").addEventListener("click", () => {
    showPerson(null);
    update();
    find("findings").scrollIntoView();
    find("findings").focus();
  });
  // Show the full text of a cut one under the pointer.
  document.addEventListener("pointerover", (event) => {
    const link = event.target.closest && event.target.closest(".more");
    if (link && !link.title) link.title = find(link.hash.slice(1)).textContent;
  });
  window.addEventListener("hashchange", readAddress);

  find("controls").hidden = false;
  if (matchMedia("(max-width: 44rem)").matches) find("fold").open = false;
  for (const element of document.querySelectorAll(".scripted")) element.hidden = false;
  document.documentElement.classList.add("live");
  isReading = true;
  chooseState(firstState);
  update();
  isReading = false;
  if (location.hash) readAddress();
})();
