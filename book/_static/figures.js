// Draws the charts of a page, in the colours of the page. Vega is loaded only where there is a chart, and the data of a
// chart when it comes near the window, all from this site.
(() => {
  "use strict";
  const here = document.currentScript.src;
  const root = document.documentElement;
  const PHONE = matchMedia("(max-width: 600px)"); // there one panel stands below the other
  const SHRINK = 0.68; // of its width: a chart of several panels shrinks that far on a narrow page, then scrolls
  const LEAST = 140; // pixels: of a panel on a phone
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

  // The files name each field of a table once; Vega wants it in each row.
  const specs = {};
  window.vegaFigure = (name, spec) => {
    for (const [key, [fields, rows]] of Object.entries(spec.datasets ?? {})) {
      const row = (values) => Object.fromEntries(values.map((value, i) => [fields[i], value]));
      spec.datasets[key] = rows.map(row);
    }
    specs[name] = spec;
  };

  // Variables of the theme, so that a chart follows when the page turns dark.
  const colours = () => {
    const text = "var(--pst-color-text-base)";
    const muted = "var(--pst-color-text-muted)";
    const guide = { labelColor: text, titleColor: text };
    return {
      background: "transparent",
      font: getComputedStyle(document.body).fontFamily,
      axis: { ...guide, domainColor: muted, tickColor: muted, gridColor: "rgba(128, 128, 128, 0.25)" },
      view: { stroke: "rgba(128, 128, 128, 0.25)" },
      legend: guide,
      header: guide,
      title: { color: text, subtitleColor: muted },
      text: { color: text },
    };
  };

  const stacked = (spec) => {
    const { hconcat, ...out } = spec;
    if (hconcat) out.vconcat = hconcat;
    if ("columns" in out) out.columns = 1;
    for (const part of ["concat", "vconcat"]) out[part] &&= out[part].map(stacked);
    for (const part of ["concat", "vconcat"]) out[part] ?? delete out[part];
    return out;
  };

  // On a phone panels stand alone, so what one is too wide, all may lose: letters keep their size.
  const narrowed = (spec, excess) => {
    const out = { ...spec };
    if (typeof out.width === "number") out.width = Math.max(out.width - excess, LEAST);
    if (out.spec) out.spec = narrowed(out.spec, excess);
    for (const part of ["layer", "concat", "vconcat"]) out[part] &&= out[part].map((each) => narrowed(each, excess));
    for (const part of ["layer", "concat", "vconcat"]) out[part] ?? delete out[part];
    return out;
  };

  const data = async (name) => {
    if (!specs[name]) await load(new URL(`../charts/${name}.js`, here));
    return structuredClone(PHONE.matches ? stacked(specs[name]) : specs[name]);
  };

  const draw = async (figure) => {
    let spec = await data(figure.dataset.chart);
    spec.config = merge(spec.config ?? {}, colours());
    delete spec.background; // set on the chart itself it would win over the configuration
    const box = getComputedStyle(figure.parentElement);
    const inside = figure.parentElement.clientWidth - parseFloat(box.paddingLeft) - parseFloat(box.paddingRight);
    const room = Math.max(inside, NARROWEST);
    const plain = typeof spec.width === "number" && typeof spec.height === "number"; // one panel, no steps
    const fitted = plain && spec.width > 0.9 * room;
    if (fitted) {
      spec.width = room;
      spec.autosize = { type: "fit-x", contains: "padding" };
    }
    if (fitted || PHONE.matches) {
      spec.config = merge(spec.config, { legend: { columns: 2, layout: { top: { direction: "vertical" } } } });
    }
    const live = document.createElement("div");
    live.className = "vega-live";
    const embed = (drawing) => window.vegaEmbed(live, drawing, { renderer: "svg", actions: false });
    const width = () => Number(live.querySelector("svg").getAttribute("width"));
    let result = await embed(structuredClone(spec));
    for (let tries = 0; PHONE.matches && !fitted && width() > room && tries < 2; tries += 1) {
      spec = narrowed(spec, Math.ceil(width() - room));
      result.finalize();
      result = await embed(structuredClone(spec));
    }
    const svg = live.querySelector("svg");
    svg.style.minWidth = `${(fitted ? 1 : SHRINK) * width()}px`;
    // Heard in place of the picture: what its caption says, and only without one what its axes are.
    const caption = figure.closest("figure")?.querySelector(".caption-text")?.cloneNode(true);
    caption?.querySelector(".sources")?.remove();
    for (const name of ["role", "aria-label", "aria-roledescription"]) {
      for (const part of svg.querySelectorAll(`[${name}]`)) part.removeAttribute(name); // parts of one picture
    }
    svg.setAttribute("role", "img");
    svg.setAttribute("aria-label", caption?.textContent.trim() || spec.description || "Chart");
    figure.finalize?.();
    figure.finalize = () => result.finalize();
    for (const old of figure.querySelectorAll(".vega-live, img.vega-still")) old.remove();
    figure.append(live);
    figure.classList.add("drawn");
  };

  const drawAll = async (figures) => {
    for (const figure of figures) {
      try {
        await draw(figure);
      } catch (error) {
        console.error("chart not drawn, its still picture is shown", error);
        figure.innerHTML = figure.querySelector("noscript").textContent;
      }
    }
  };

  const start = async () => {
    const all = [...document.querySelectorAll(".vega-figure")];
    if (all.length === 0) return;
    await load(new URL("../assets/vega.js", here));
    // Where it comes near the window; in a fold, where that is opened.
    const near = new IntersectionObserver(
      (entries) => {
        const come = entries.filter((entry) => entry.isIntersecting).map((entry) => entry.target);
        for (const figure of come) near.unobserve(figure);
        drawAll(come);
      },
      { rootMargin: "200px 0px" },
    );
    for (const figure of all) near.observe(figure);
    PHONE.addEventListener("change", () => drawAll(all.filter((figure) => figure.classList.contains("drawn"))));
    addEventListener("beforeprint", () => {
      for (const figure of all) {
        const still = figure.querySelector("noscript")?.textContent;
        if (still && !figure.classList.contains("drawn")) figure.insertAdjacentHTML("beforeend", still);
      }
    });
  };

  document.addEventListener("DOMContentLoaded", start);
})();
