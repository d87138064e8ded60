// Runs before the first paint, so that a chosen theme does not flash: from the address (#theme=dark) or the last visit.
(() => {
  "use strict";
  let chosen = (/theme=(light|dark)/.exec(location.hash) || [])[1];
  try { chosen = chosen || localStorage.getItem("batchlaw-theme"); } catch { /* a file page may have no storage */ }
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
})();
