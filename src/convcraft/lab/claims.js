for (const root of document.querySelectorAll(".cc-ledger:not([data-ready])")) {
  root.dataset.ready = "";
  const form = root.querySelector("form");
  const rows = [...root.querySelectorAll("tbody tr")].map((row) => [row, row.textContent.toLowerCase()]);
  const search = form.querySelector("input");
  const selects = [...form.querySelectorAll("select")];
  const count = form.querySelector("output");
  const fits = (row, select) => !select.value || row.dataset[select.name].split(" ").includes(select.value);
  const show = () => {
    const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !(selects.every((select) => fits(row, select)) && words.every((word) => text.includes(word)));
      if (!row.hidden) shown += 1;
    }
    count.textContent = `${shown} of ${rows.length} claims`;
  };
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(show));
  form.hidden = false;
  show();
}
