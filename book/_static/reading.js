// What helps in reading: one switch for the code of all pages, room for what is wide, scrolling by keys, light and unfolded
// paper.
(() => {
  "use strict";
  const root = document.documentElement;
  const KEY = "code"; // remembered from page to page; a browser may refuse
  const remembered = () => {
    try {
      return localStorage.getItem(KEY);
    } catch {
      return null;
    }
  };
  const remember = (state) => {
    try {
      localStorage.setItem(KEY, state);
    } catch {}
  };
  root.dataset.code = remembered() === "shown" ? "shown" : "folded"; // before anything is painted

  const addSwitch = () => {
    const bar = document.querySelector(".article-header-buttons");
    if (!bar || !document.querySelector("div.cell_input")) return;
    const button = document.createElement("button");
    button.className = "btn btn-sm code-switch";
    const tell = () => {
      const shown = root.dataset.code === "shown";
      button.textContent = shown ? "Hide code" : "Show code";
      button.title = `${button.textContent} on all pages`;
    };
    button.addEventListener("click", () => {
      root.dataset.code = root.dataset.code === "shown" ? "folded" : "shown";
      remember(root.dataset.code);
      tell();
    });
    tell();
    bar.prepend(button);
  };

  // What is wider than the text takes the column beside it too. Where the contents of the page stand there, the theme
  // folds them for what is named "full-width"; it looks when the page is parsed, and so this comes just before.
  const widen = () => {
    const names = document.querySelector(".bd-sidebar-secondary") ? ["wide", "full-width"] : ["wide"];
    for (const box of document.querySelectorAll(".cell_output .text_html, .filtered .scrolled")) {
      const chart = parseFloat(box.querySelector(".vega-figure")?.style.getPropertyValue("--wide") ?? 0);
      if (Math.max(box.scrollWidth, 0.85 * chart) > box.clientWidth + 1) box.closest(".cell")?.classList.add(...names);
    }
  };

  // A box that scrolls sideways can be reached by keyboard, and says what it is; others are no stop.
  const BOXES = ".vega-figure, .cell_output .text_html, .filtered .scrolled, div.math, pre, .claim, table.decisive";
  const reach = (box) => {
    box.classList.toggle("more", box.scrollLeft + box.clientWidth < box.scrollWidth - 2);
    if (box.scrollWidth > box.clientWidth + 1) {
      box.tabIndex = 0;
      box.setAttribute("role", "group");
      const caption = box.closest("figure")?.querySelector(".caption-number")?.textContent.trim();
      box.setAttribute("aria-label", `${caption || "Wide content"}, scrolls sideways`);
    } else if (box.tabIndex === 0) {
      for (const name of ["tabindex", "role", "aria-label"]) box.removeAttribute(name);
    }
  };
  const watch = () => {
    const observer = new ResizeObserver((entries) => entries.forEach((entry) => reach(entry.target)));
    for (const box of document.querySelectorAll(BOXES)) {
      observer.observe(box);
      box.addEventListener("scroll", () => reach(box), { passive: true });
    }
    // An error of the library that lists the references: a list whose items are no list's items.
    for (const list of document.querySelectorAll(".citation-list")) list.removeAttribute("role");
  };

  let theme;
  let opened = [];
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme;
    root.dataset.theme = "light";
    opened = [...document.querySelectorAll("details:not([open])")];
    for (const fold of opened) fold.open = true;
  });
  addEventListener("afterprint", () => {
    root.dataset.theme = theme;
    for (const fold of opened) fold.open = false;
  });
  document.addEventListener("readystatechange", () => {
    if (document.readyState === "interactive" && innerWidth >= 1200) widen();
  });
  document.addEventListener("DOMContentLoaded", () => {
    addSwitch();
    watch();
  });
})();
