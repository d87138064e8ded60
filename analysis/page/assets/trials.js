// The table of all trials: sorted, filtered and shown a page at a time, so that 10,000 rows stay quick.
(() => {
  "use strict";
  const block = document.getElementById("trials-data");
  if (!block) return;
  const { columns, count } = JSON.parse(block.textContent);
  const PAGE_ROWS = 50;
  const byKey = Object.fromEntries(columns.map((column, index) => [column.key, index]));
  const text = (column, row) => {
    const value = column.values[row];
    return value === null ? "" : String(column.words ? column.words[value] : value);
  };
  const searchable = columns.filter((column) => column.words);
  const haystack = Array.from({ length: count }, (_, row) =>
    searchable.map((column) => text(column, row)).join("\u0000").toLowerCase());

  const element = (id) => document.getElementById(id);
  const [search, status, sweep] = ["trials-search", "trials-status", "trials-sweep"].map(element);
  const [before, after, position, head, body] =
    ["trials-before", "trials-after", "trials-position", "trials-head", "trials-body"].map(element);
  let sorting = { index: -1, sign: 1 };
  let shown = [];
  let page = 0;

  function shownNumber(value) {
    if (Number.isInteger(value)) return value < 1e4 ? String(value) : String(value).replace(/\B(?=(\d{3})+$)/g, "\u202f");
    return String(Number(value.toPrecision(4)));
  }

  function compare(a, b) {
    const column = columns[sorting.index];
    const [left, right] = [column.values[a], column.values[b]];
    if (left === null || right === null) return (left === null) - (right === null); // unknown ones last, either way
    const order = column.words ? column.words[left].localeCompare(column.words[right]) : left - right;
    return sorting.sign * order || a - b;
  }

  function select() {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = [["status", status.value], ["sweep", sweep.value]].filter(([, value]) => value);
    shown = [];
    for (let row = 0; row < count; row += 1) {
      if (wanted.every(([key, value]) => text(columns[byKey[key]], row) === value)
        && words.every((word) => haystack[row].includes(word))) shown.push(row);
    }
    if (sorting.index >= 0) shown.sort(compare);
    page = 0;
    show();
  }

  function show() {
    const pages = Math.max(1, Math.ceil(shown.length / PAGE_ROWS));
    page = Math.min(Math.max(page, 0), pages - 1);
    const start = page * PAGE_ROWS;
    const rows = shown.slice(start, start + PAGE_ROWS).map((row) => {
      const line = document.createElement("tr");
      for (const column of columns) {
        const cell = document.createElement("td");
        const value = column.values[row];
        if (column.words) {
          cell.textContent = text(column, row);
          if (column.key === "status") cell.className = `status ${text(column, row)}`;
          if (column.key === "message") cell.className = "words";
        } else {
          cell.className = "number";
          cell.textContent = value === null ? "–" : shownNumber(value);
        }
        line.append(cell);
      }
      return line;
    });
    body.replaceChildren(...rows);
    const end = Math.min(start + PAGE_ROWS, shown.length);
    position.textContent = shown.length ? `${start + 1} to ${end} of ${shown.length} trials` : "no trial fits the filter";
    before.disabled = page === 0;
    after.disabled = page >= pages - 1;
  }

  columns.forEach((column, index) => {
    const header = document.createElement("th");
    header.scope = "col";
    header.setAttribute("aria-sort", "none");
    if (!column.words) header.className = "number";
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = column.label;
    button.title = column.meaning;
    button.addEventListener("click", () => {
      sorting = { index, sign: sorting.index === index ? -sorting.sign : 1 };
      [...head.children].forEach((other, at) =>
        other.setAttribute("aria-sort", at !== index ? "none" : sorting.sign > 0 ? "ascending" : "descending"));
      select();
    });
    header.append(button);
    head.append(header);
  });
  for (const [control, key] of [[status, "status"], [sweep, "sweep"]]) {
    for (const word of columns[byKey[key]].words) control.add(new Option(word, word));
    control.addEventListener("change", select);
  }
  search.addEventListener("input", select);
  before.addEventListener("click", () => { page -= 1; show(); });
  after.addEventListener("click", () => { page += 1; show(); });
  select();
})();
