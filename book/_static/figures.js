// Draws the charts of a page over their still pictures, in the colours of the page, and again when those change.
// Vega itself is loaded only where there is a chart, from this site.
(() => {
  "use strict";
  const here = document.currentScript.src;
  const root = document.documentElement;
  const SHRINK = 0.68; // of its width: a chart of several panels shrinks that far on a narrow page, then scrolls
  const NARROWEST = 300; // pixels: a chart of one panel is drawn as narrow as the page, but no narrower

  const load = (url) =>
    new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = url;
      script.onload = resolve;
      script.onerror = () => reject(new Error(`cannot load ${url}`));
      document.head.append(script);
    });

  const merge = (below, above) => {
    const out = { ...below };
    for (const [key, value] of Object.entries(above)) {
      const nested = value && typeof value === "object" && !Array.isArray(value);
      out[key] = nested ? merge(out[key] ?? {}, value) : value;
    }
    return out;
  };

  const colours = () => {
    const style = getComputedStyle(document.body);
    const text = style.getPropertyValue("--pst-color-text-base").trim() || style.color;
    const muted = style.getPropertyValue("--pst-color-text-muted").trim() || text;
    const guide = { labelColor: text, titleColor: text };
    return {
      background: "transparent",
      font: style.fontFamily,
      axis: { ...guide, domainColor: muted, tickColor: muted, gridColor: "rgba(128, 128, 128, 0.25)" },
      view: { stroke: "rgba(128, 128, 128, 0.25)" },
      legend: guide,
      header: guide,
      title: { color: text, subtitleColor: muted },
      text: { color: text },
    };
  };

  const draw = async (figure) => {
    const spec = JSON.parse(figure.querySelector(".vega-data").textContent);
    spec.config = merge(spec.config ?? {}, colours());
    delete spec.background; // set on the chart itself it would win over the configuration
    const room = Math.max(figure.clientWidth, NARROWEST);
    const plain = typeof spec.width === "number" && typeof spec.height === "number"; // one panel, no steps
    const fitted = plain && spec.width > 0.9 * room;
    if (fitted) {
      spec.width = room;
      spec.autosize = { type: "fit-x", contains: "padding" };
      spec.config = merge(spec.config, { legend: { columns: 2, layout: { top: { direction: "vertical" } } } });
    }
    const live = document.createElement("div");
    live.className = "vega-live";
    const theme = root.dataset.theme === "dark" ? "dark" : "light";
    const result = await window.vegaEmbed(live, spec, { renderer: "svg", actions: false, tooltip: { theme } });
    const svg = live.querySelector("svg");
    svg.style.minWidth = `${(fitted ? 1 : SHRINK) * Number(svg.getAttribute("width"))}px`;
    const alternative = figure.querySelector(".vega-still").alt;
    if (alternative) svg.setAttribute("aria-label", alternative);
    figure.finalize?.();
    figure.finalize = () => result.finalize();
    figure.querySelector(".vega-live")?.remove();
    figure.append(live);
    figure.classList.add("drawn");
  };

  const drawAll = async (figures) => {
    for (const figure of figures) {
      try {
        await draw(figure);
      } catch (error) {
        console.error("chart not drawn, its still picture stays", error);
      }
    }
  };

  const start = async () => {
    const figures = [...document.querySelectorAll(".vega-figure")];
    if (figures.length === 0) return;
    await load(new URL("../assets/vega.js", here));
    await drawAll(figures);
    let theme = root.dataset.theme;
    new MutationObserver(() => {
      if (root.dataset.theme === theme) return;
      theme = root.dataset.theme;
      drawAll(figures);
    }).observe(root, { attributes: true, attributeFilter: ["data-theme"] });
  };

  document.addEventListener("DOMContentLoaded", start);
})();
