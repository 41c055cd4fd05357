for (const root of document.querySelectorAll(".cc-ledger:not([data-ready])")) {
  const form = root.querySelector("form");
  if (!form) continue;
  root.dataset.ready = "";
  const fields = [...form.querySelectorAll("input, select")];
  const count = form.querySelector("output");
  const none = root.querySelector(".cc-none");
  const flat = (text) => text.toLowerCase().replace(/[-‐‑]/g, "");
  const stem = (word) =>
    word.replace(/(?:i[sz]ations?|i[sz]e[ds]?|i[sz]ing|ations?|ates?|ated|ating|ions?|ings?|ed|es|s|e)$/, (end) =>
      word.length - end.length >= 4 ? "" : end);
  const rows = [...root.querySelectorAll("details")].map((row) => {
    const parts = [...row.querySelectorAll("summary, .s")].map((part) => part.textContent);
    const text = parts.join(" ").toLowerCase();
    return [row, `${text} ${flat(text)} ${row.dataset.k}`];
  });
  const fits = (row, select) => !select.value || row.dataset[select.name].split(" ").includes(select.value);
  const show = () => {
    const words = flat(fields[0].value).split(/\s+/).filter(Boolean).map(stem);
    let shown = 0;
    for (const [row, text] of rows) {
      row.hidden = !(fields.slice(1).every((select) => fits(row, select)) && words.every((word) => text.includes(word)));
      shown += !row.hidden;
    }
    count.textContent = `${shown} of ${rows.length} claims`;
    none.hidden = shown > 0;
  };
  // The filters are kept in the address, as #q=dead&v=false; an address #ledger-ID opens that claim.
  const save = () => {
    const set = fields.filter((field) => field.value).map((field) => [field.name, field.value]);
    history.replaceState(null, "", `#${new URLSearchParams(set)}`);
  };
  const restore = () => {
    const hash = decodeURIComponent(location.hash.slice(1));
    if (hash.startsWith("ledger-")) {
      const target = document.getElementById(hash);
      if (!target) return;
      const row = target.closest("details");
      row.open = true;
      row.hidden = false;
      row.scrollIntoView();
      return;
    }
    const given = new URLSearchParams(location.hash.slice(1));
    for (const field of fields) field.value = given.get(field.name) ?? "";
    show();
  };
  form.addEventListener("input", () => { show(); save(); });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(() => { show(); save(); }));
  addEventListener("hashchange", restore);
  addEventListener("pageshow", restore);
  form.hidden = false;
  show();
  restore();
}
