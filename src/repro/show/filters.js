(() => {
  const box = document.currentScript?.parentElement;
  if (!box) return;
  const rows = [...box.querySelectorAll("tbody tr")], menus = {}, bar = document.createElement("p");
  const count = document.createElement("output");
  // A page is called what the site's menu calls it.
  const titles = (value) => document.querySelector(`nav a[href$="${CSS.escape(value)}.html"]`)?.textContent.trim() ?? value;
  const show = () => {
    const fits = (row) => Object.entries(menus).every(([name, menu]) => ["", row.dataset[name]].includes(menu.value));
    for (const row of rows) row.hidden = !fits(row);
    count.textContent = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  for (const [name, title] of Object.entries(JSON.parse(box.dataset.by))) {
    const label = document.createElement("label"), menu = (menus[name] = document.createElement("select"));
    menu.append(new Option("all", ""));
    for (const value of new Set(rows.map((row) => row.dataset[name]))) menu.append(new Option(name === "page" ? titles(value) : value, value));
    menu.addEventListener("change", show);
    label.append(`${title} `, menu);
    bar.append(label, " ");
  }
  bar.append(count);
  box.prepend(bar);
  show();
})();
