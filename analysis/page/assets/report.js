// Theme, figures and the table of trials. The page loads nothing else: all data stand in its JSON blocks.
(() => {
  "use strict";
  const root = document.documentElement;
  const read = (id) => JSON.parse(document.getElementById(id).textContent);

  // -- theme --------------------------------------------------------------------------------------
  const systemDark = matchMedia("(prefers-color-scheme: dark)");
  const themeButton = document.getElementById("theme");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : systemDark.matches);

  function setTheme(name) {
    root.dataset.theme = name;
    try { localStorage.setItem("batchlaw-theme", name); } catch { /* a file page may have no storage */ }
    onTheme();
  }
  function onTheme() {
    themeButton.textContent = isDark() ? "Light theme" : "Dark theme";
    redraw();
  }

  // -- figures ------------------------------------------------------------------------------------
  // Figures name their colours as CSS variables. Plotly does not know these, so they are looked up here.
  const VARIABLE = /^var\((--[a-z0-9-]+)\)$/;
  function resolved(value, style) {
    if (typeof value === "string") {
      const match = VARIABLE.exec(value);
      return match ? style.getPropertyValue(match[1]).trim() : value;
    }
    if (Array.isArray(value)) {
      return value.every((item) => typeof item === "number") ? value : value.map((item) => resolved(item, style));
    }
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolved(item, style)]));
    }
    return value;
  }

  // As many ticks as have room for their words.
  function thinned({ tickvals, ticktext }, width) {
    const every = Math.ceil((tickvals.length * 42) / Math.max(width, 84));
    const kept = (items) => items.filter((_, index) => index % every === 0);
    return { tickvals: kept(tickvals), ticktext: kept(ticktext) };
  }

  // Panels are laid out for the width there is, and the legend gets the height that it needs.
  function fitted(layout, data, width) {
    const panels = layout.meta && layout.meta.panels;
    let height = layout.height;
    if (panels) {
      const fitting = Math.max(1, Math.min(panels, Math.floor(width / layout.meta.least_width)));
      const rows = Math.ceil(panels / fitting);
      layout.grid = { ...layout.grid, rows, columns: Math.ceil(panels / rows) }; // the last row as full as can be
      height = rows * layout.meta.row_height + 60;
    }
    const columns = (layout.grid && layout.grid.columns) || 1;
    for (const [name, axis] of Object.entries(layout)) {
      if (name.startsWith("xaxis") && axis.tickvals) layout[name] = { ...axis, ...thinned(axis, width / columns - 50) };
    }
    const names = data.filter((trace) => trace.showlegend !== false && trace.name).map((trace) => trace.name.length);
    const perRow = Math.max(1, Math.floor(width / (Math.max(1, ...names) * 7 + 46)));
    return { ...layout, height: height + 20 * Math.ceil(names.length / perRow), width, uirevision: "kept" };
  }

  const specs = new Map();
  const drawnWidth = new Map();
  const drawnDark = new Map();
  const config = {
    displaylogo: false,
    showTips: false,
    displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "svg" },
  };
  function draw(plot) {
    if (!specs.has(plot)) specs.set(plot, read(plot.dataset.figure));
    const spec = specs.get(plot);
    const style = getComputedStyle(root);
    const width = plot.clientWidth;
    drawnWidth.set(plot, width);
    drawnDark.set(plot, isDark());
    const data = resolved(spec.data, style);
    plot.style.minHeight = "0";
    Plotly.react(plot, data, fitted(resolved(spec.layout, style), data, width), config);
  }
  const plots = [...document.querySelectorAll(".plot")];
  // A plot in a folded section has no width; it is drawn when the section is opened and the plot gets one.
  const redraw = () => plots.filter((plot) => specs.has(plot) && plot.clientWidth > 0).forEach(draw);
  const onSight = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      onSight.unobserve(target);
      draw(target);
    }
  }, { rootMargin: "800px" });
  let waiting = 0;
  const onWidth = new ResizeObserver((entries) => {
    const changed = entries.some(({ target }) =>
      specs.has(target) && target.clientWidth > 0
      && (drawnWidth.get(target) !== target.clientWidth || drawnDark.get(target) !== isDark()));
    if (!changed) return;
    clearTimeout(waiting);
    waiting = setTimeout(redraw, 120);
  });
  for (const plot of plots) { onSight.observe(plot); onWidth.observe(plot); }

  let themeBeforePrint;
  addEventListener("beforeprint", () => {
    themeBeforePrint = root.dataset.theme;
    root.dataset.theme = "light";
    plots.filter((plot) => plot.clientWidth > 0).forEach(draw);
  });
  addEventListener("afterprint", () => {
    if (themeBeforePrint) root.dataset.theme = themeBeforePrint;
    else delete root.dataset.theme;
    redraw();
  });

  // A link to a folded section opens it.
  function unfold() {
    const place = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    if (!place || place.tagName !== "DETAILS" || place.open) return;
    place.open = true;
    place.scrollIntoView();
  }
  addEventListener("hashchange", unfold);
  document.addEventListener("click", (event) => {
    const link = event.target.closest && event.target.closest("a[href^='#']");
    if (link && link.hash === location.hash) unfold(); // the same link again changes no hash
  });
  unfold();

  themeButton.hidden = false;
  themeButton.addEventListener("click", () => setTheme(isDark() ? "light" : "dark"));
  systemDark.addEventListener("change", onTheme);
  onTheme();
})();
