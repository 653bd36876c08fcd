// Shows what a term means where it is linked: under the pointer, at the tab key's focus, and at the first touch (the
// second one follows the link). The build has put each meaning into the link's title, which works without scripts too.
(() => {
  "use strict";
  const GAP = 6; // pixels between a link and its box, and between the box and the edge of the window

  const start = () => {
    const links = [...document.querySelectorAll("a.reference[title]")].filter((link) => link.querySelector(".std-term"));
    if (links.length === 0) return;
    const box = document.createElement("div");
    Object.assign(box, { id: "term-meaning", hidden: true });
    box.setAttribute("role", "tooltip");
    document.body.append(box);
    let shown = null; // the link whose meaning is seen
    let touched = null; // the link that is being touched for the first time
    let leaving = 0;

    const hide = () => {
      box.hidden = true;
      shown?.removeAttribute("aria-describedby");
      shown = null;
    };
    const leave = () => {
      leaving = setTimeout(hide, 150); // long enough to move the pointer into the box
    };
    const show = (link) => {
      clearTimeout(leaving);
      if (shown === link) return;
      hide();
      shown = link;
      box.textContent = link.dataset.meaning;
      box.hidden = false;
      link.setAttribute("aria-describedby", box.id);
      const [at] = link.getClientRects(); // of a link in two lines, the first
      const left = Math.min(at.left, document.documentElement.clientWidth - box.offsetWidth - GAP);
      const below = at.bottom + GAP + box.offsetHeight <= window.innerHeight || at.top < box.offsetHeight + GAP;
      const top = below ? at.bottom + GAP : at.top - box.offsetHeight - GAP;
      box.style.left = `${window.scrollX + Math.max(left, GAP)}px`;
      box.style.top = `${window.scrollY + top}px`;
    };

    for (const link of links) {
      link.dataset.meaning = link.title;
      link.removeAttribute("title"); // or the browser's own box would lie over this one
      link.addEventListener("pointerdown", (event) => {
        touched = event.pointerType === "mouse" || shown === link ? null : link;
      });
      link.addEventListener("click", (event) => {
        if (touched !== link) return;
        touched = null;
        event.preventDefault();
        show(link);
      });
      link.addEventListener("mouseenter", () => show(link));
      link.addEventListener("mouseleave", leave);
      link.addEventListener("focus", () => show(link));
      link.addEventListener("blur", hide);
    }
    box.addEventListener("mouseenter", () => clearTimeout(leaving));
    box.addEventListener("mouseleave", leave);
    document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
    document.addEventListener("pointerdown", (event) => {
      if (shown && !shown.contains(event.target) && !box.contains(event.target)) hide();
    });
  };

  document.addEventListener("DOMContentLoaded", start);
})();
