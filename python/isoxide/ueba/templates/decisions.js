// Buttons of each finding: decide about it, and copy it for a ticket. Decisions are downloaded as a file; nothing is sent.
(function () {
  "use strict";
  const find = (id) => document.getElementById(id);
  const data = JSON.parse(find("data").textContent);
  const fullText = (text) => (typeof text === "number" ? find("full-" + text).textContent : text);
  const STATUSES = ["known-good", "false-positive", "confirmed"];
  const COLUMNS = ["id", "entity", "time", "features", "score", "status", "until", "who", "when", "note"];
  const DAYS_UNTIL = 90;
  const decisions = new Map();
  let isSaved = true;
  // The finding that was decided last, to which the note belongs.
  let last = null;
  const findings = new Map();
  for (const [name, , rows, exact] of data.cards) {
    for (const [id, day, signs, neutral, time, score, reached] of rows) {
      const listed = signs.concat(neutral).map(Math.abs);
      findings.set(id, { name, exact, day, time: time || day, score, features: reached || listed });
    }
  }

  function button(label, name) {
    const element = document.createElement("button");
    element.type = "button";
    element.textContent = label;
    element.dataset[name] = label;
    return element;
  }

  // Buttons are made when a finding comes near the window, since making them for thousands of findings is slow.
  function addButtons(element) {
    if (element.lastElementChild.className === "do") return;
    const bar = document.createElement("div");
    bar.className = "do";
    bar.setAttribute("role", "group");
    bar.setAttribute("aria-label", "Decide about the finding of " + element.querySelector("h4").textContent);
    for (const status of STATUSES) {
      const decide = button(status, "status");
      decide.setAttribute("aria-pressed", String(status === (decisions.get(element.id) || {}).status));
      bar.append(decide);
    }
    bar.append(button("Copy for ticket", "copy"));
    element.append(bar);
  }
  const watcher = new IntersectionObserver(
    (entries) => {
      for (const entry of entries) {
        if (!entry.isIntersecting) continue;
        watcher.unobserve(entry.target);
        addButtons(entry.target);
      }
    },
    { rootMargin: "1000px" },
  );
  for (const element of document.querySelectorAll(".f")) watcher.observe(element);

  function decide(element, status) {
    isSaved = false;
    const isTakenBack = (decisions.get(element.id) || {}).status === status;
    if (isTakenBack) decisions.delete(element.id);
    else {
      // A decision that hides findings holds for some time; a confirmed finding stays confirmed.
      const until = new Date(Date.now() + DAYS_UNTIL * 86400000).toISOString().slice(0, 10);
      decisions.set(element.id, {
        status,
        until: status === "confirmed" ? "" : until,
        when: new Date().toISOString(),
        note: (decisions.get(element.id) || { note: "" }).note,
      });
    }
    last = isTakenBack ? null : element.id;
    find("note").value = isTakenBack ? "" : decisions.get(element.id).note;
    find("note").disabled = isTakenBack;
    for (const item of element.querySelectorAll("[data-status]")) {
      item.setAttribute("aria-pressed", String(!isTakenBack && item.dataset.status === status));
    }
    element.classList.toggle("decided", !isTakenBack);
    find("decisions").hidden = !decisions.size;
    find("decided").textContent = decisions.size + (decisions.size === 1 ? " decision" : " decisions");
    find("status").textContent = "Finding of " + findings.get(element.id).day + ": " + (isTakenBack ? "decision taken back" : status);
  }

  // Text that a spreadsheet would run as a formula gets an apostrophe, as in the other CSV files.
  // One that begins with apostrophes and such text gets another one, since the reader removes one.
  const guarded = (text) => (/^'* *[=+\-@\t\r\n]/.test(text) ? "'" + text : text);
  const quoted = (text) => '"' + guarded(String(text)).replace(/"/g, '""') + '"';

  function csv() {
    const lines = [COLUMNS.join(",")];
    for (const [id, decision] of decisions) {
      const finding = findings.get(id);
      const names = finding.features.map((number) => fullText(data.features[number - 1]));
      const values = {
        ...decision,
        id: id.slice(0, 12),
        entity: finding.exact === undefined ? fullText(finding.name) : finding.exact,
        time: finding.time,
        features: JSON.stringify(names),
        score: finding.score >= 0 && finding.score <= 1 ? finding.score : "",
        who: find("who").value,
      };
      lines.push(COLUMNS.map((column) => quoted(values[column])).join(","));
    }
    return lines.join("\r\n") + "\r\n";
  }

  function download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([csv()], { type: "text/csv" }));
    link.download = "decisions.csv";
    document.body.append(link);
    link.click();
    link.remove();
    isSaved = true;
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
  }

  // Plain text of a finding: name, day, sentence, figures, features, and links.
  function ticket(element) {
    const clean = (text) => text.replace(/\s+/g, " ").trim();
    const finding = findings.get(element.id);
    const paragraphs = [...element.querySelectorAll(":scope > p")].map((item) => clean(item.textContent));
    const rows = [...element.querySelectorAll("tbody tr")].map((row) => {
      const cells = [...row.cells].map((cell) => clean(cell.textContent));
      return "- " + cells[0].replace(/ ?\d+ related$/, "") + ": " + cells[1];
    });
    const out = element.querySelector("a.out");
    return [
      fullText(data.entity) + ": " + fullText(finding.name),
      "time: " + clean(element.querySelector("h4").textContent),
      "id: " + element.id.slice(0, 12),
      ...paragraphs,
      ...rows,
      // In the frame of a notebook the page has no address that a ticket could refer to.
      ...(location.href.startsWith("about:") ? [] : [location.href.split("#")[0] + "#" + element.id]),
      ...(out ? [out.href] : []),
    ].join("\n");
  }

  function copy(element, control) {
    const text = ticket(element);
    const done = (isCopied) => {
      control.textContent = isCopied ? "Copied" : "Copy the selected text";
      find("status").textContent = control.textContent;
      setTimeout(() => (control.textContent = "Copy for ticket"), 2000);
    };
    // Pages of files may have no clipboard; then the text is selected, and copied if the browser still allows it.
    const select = () => {
      const area = document.createElement("textarea");
      area.value = text;
      area.readOnly = true;
      area.rows = 8;
      area.setAttribute("aria-label", "Text for the ticket");
      control.parentElement.append(area);
      area.select();
      const isCopied = document.execCommand("copy");
      if (isCopied) area.remove();
      done(isCopied);
      if (isCopied) control.focus();
    };
    if (navigator.clipboard && window.isSecureContext) navigator.clipboard.writeText(text).then(() => done(true), select);
    else select();
  }

  find("cards").addEventListener("click", (event) => {
    const control = event.target.closest(".do button");
    if (!control) return;
    const element = control.closest(".f");
    if (control.dataset.status) decide(element, control.dataset.status);
    else copy(element, control);
  });
  find("download").addEventListener("click", download);
  find("note").addEventListener("input", () => {
    if (last === null) return;
    decisions.get(last).note = find("note").value;
    isSaved = false;
  });
  window.addEventListener("beforeunload", (event) => {
    if (decisions.size && !isSaved) event.preventDefault();
  });
})();
