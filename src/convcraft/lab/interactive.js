// Draws a figure whose frames lie in the page, and redraws it when a control moves. Nothing is fetched.
(() => {
  const TAG = "convcraft-figure";
  if (customElements.get(TAG)) return;
  const LIGHT = __LIGHT__, DARK = __DARK__;
  const DASH = ["", "7 3", "2 2.5", "8 3 2 3", "12 4", "5 2 2 2 2 2", "4 4"];
  const NS = "http://www.w3.org/2000/svg";
  const css = `
    ${TAG}{display:block;margin:1rem 0;text-align:left;--ink:var(--pst-color-text-base,#1f2328);--muted:var(--pst-color-text-muted,#57606a);--grid:#8c959f38;--zero:#8c959f;--ground:var(--pst-color-background,var(--jp-layout-color0,#fff));--edge:#c5ccd3;--hue:${LIGHT[0]};
      ${LIGHT.map((c, i) => `--c${i}:${c}`).join(";")};color:var(--ink);font:15px/1.4 var(--cc-sans,system-ui,-apple-system,"Segoe UI",Roboto,sans-serif)}
    :is(html[data-theme=dark],html[data-mode=dark]:not([data-theme]),body[data-jp-theme-light=false]) ${TAG}{--ink:var(--pst-color-text-base,#e6e8eb);--muted:var(--pst-color-text-muted,#a8b0b8);--grid:#8c959f33;--zero:#7d868f;--ground:var(--pst-color-background,var(--jp-layout-color0,#121212));--edge:#4a525a;--hue:${DARK[0]};
      ${DARK.map((c, i) => `--c${i}:${c}`).join(";")};color-scheme:dark}
    html[data-theme=dark] .bd-content div.cell_output .text_html:has(${TAG}){background:none!important;padding:0!important;color:inherit}
    ${TAG} *{box-sizing:border-box}
    ${TAG}.on>.still{display:none}
    ${TAG} .panels{display:grid;gap:.5rem .75rem}
    ${TAG} .panel{min-width:0}
    ${TAG} .head{font-size:13px;line-height:1.3;margin:0 0 2px;min-height:1.3em}
    ${TAG} .head b{font-weight:650;margin-right:.5em} ${TAG} .head span{color:var(--muted)}
    ${TAG} svg{display:block;width:100%;overflow:visible;touch-action:pan-y}
    ${TAG} svg text{fill:var(--ink);font-size:12px;font-variant-numeric:tabular-nums}
    ${TAG} svg .label{fill:var(--muted)}
    ${TAG} svg .grid{stroke:var(--grid);shape-rendering:crispEdges} ${TAG} svg .zero{stroke:var(--zero);shape-rendering:crispEdges}
    ${TAG} svg .line{fill:none;stroke-width:2.25;stroke-linejoin:round} ${TAG} svg .bar{stroke:none}
    ${TAG} svg .cross{stroke:var(--muted);stroke-dasharray:2 2} ${TAG} svg .dot{stroke:var(--ground);stroke-width:1.5}
    ${TAG} .legend{display:flex;flex-wrap:wrap;gap:.1rem 1.1rem;font-size:13px;margin:.1rem 0 .3rem}
    ${TAG} .legend svg{display:inline-block;width:30px;height:10px;margin-right:.45em;vertical-align:middle}
    ${TAG} .controls{display:flex;flex-wrap:wrap;gap:.35rem 1.25rem;align-items:center;margin:.4rem 0 0;padding:.35rem 0 .15rem;border-top:1px solid var(--grid)}
    ${TAG} .control{display:flex;align-items:center;gap:.6rem;min-width:0;min-height:44px} ${TAG} .control.wide{flex:1 1 15rem}
    ${TAG} label{font-weight:600;font-size:14px;white-space:nowrap;margin:0}
    ${TAG} select,${TAG} button{font:inherit;color:var(--ink);background:var(--ground);border:1px solid var(--edge);border-radius:8px;min-height:44px;padding:0 .75rem;max-width:100%}
    ${TAG} button{cursor:pointer;margin-left:auto} ${TAG} button:disabled{opacity:.45;cursor:default}
    ${TAG} input[type=range]{flex:1 1 7rem;min-width:6rem;width:100%;height:44px;margin:0;accent-color:var(--hue);cursor:pointer}
    ${TAG} input[type=checkbox]{width:24px;height:44px;accent-color:var(--hue)}
    ${TAG} input:disabled{opacity:.35;cursor:default}
    ${TAG} :is(select,button,input):focus-visible{outline:2px solid var(--hue);outline-offset:2px}
    ${TAG} .control output{min-width:4.2ch;text-align:right;font-variant-numeric:tabular-nums}
    ${TAG} .foot{display:flex;gap:1rem;align-items:center;justify-content:space-between}
    ${TAG} .text{color:var(--ink);font-size:14px;min-height:1.4em;margin:0;font-variant-numeric:tabular-nums;overflow-wrap:anywhere}
    @media print{${TAG}.on>.still{display:block} ${TAG}.on>.live{display:none}}`;

  const svg = (name, attributes = {}, parent) => {
    const node = document.createElementNS(NS, name);
    for (const key in attributes) node.setAttribute(key, attributes[key]);
    parent?.append(node);
    return node;
  };
  const html = (name, className, parent, text) => {
    const node = document.createElement(name);
    if (className) node.className = className;
    if (text !== undefined) node.textContent = text;
    parent?.append(node);
    return node;
  };
  const SUPER = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  const power = n => (n === 0 ? "1" : n === 1 ? "10" : "10" + [...String(n)].map(c => (c === "-" ? "⁻" : SUPER[c])).join(""));
  const minus = t => String(t).replace("-", "−");
  const ticks = (low, high, most, log) => {
    const least = log ? 1 : 1e-12, raw = Math.max((high - low) / Math.max(most, 1), least);
    const size = 10 ** Math.floor(Math.log10(raw));
    const step = (log ? [1, 2, 3, 4, 5, 10] : [1, 2, 2.5, 5, 10]).map(f => f * size).find(s => s >= raw * 0.999);
    const out = [];
    for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) out.push(+(k * step).toPrecision(10));
    return out;
  };
  const show = v => (v === 0 ? "0" : Math.abs(v) >= 1e4 || Math.abs(v) < 1e-3 ? v.toExponential(1) : String(+v.toPrecision(3)));

  class Figure extends HTMLElement {
    connectedCallback() {
      if (this.data) return;
      const source = this.querySelector("script[type='application/json']");
      // The parser may still be inside this element: its data come next.
      if (!source) return void setTimeout(() => this.isConnected && this.connectedCallback(), 20);
      try { this.data = JSON.parse(source.textContent); } catch { return void setTimeout(() => this.connectedCallback(), 20); }
      if (!document.getElementById("convcraft-figure-style")) html("style", "", document.head, css).id = "convcraft-figure-style";
      this.state = this.data.controls.map((c, k) => this.start(k));
      this.cache = new Map();
      this.build();
      this.classList.add("on");
      this.update();
      new ResizeObserver(() => this.layout()).observe(this.grid);
    }

    build() {
      const d = this.data, live = html("div", "live", this), names = [...new Set(d.panels.flatMap(p => p.names))].filter(Boolean);
      if (d.panels.some(p => p.names.length > 1)) {
        const legend = html("div", "legend", live);
        legend.setAttribute("aria-hidden", "true");
        for (const name of names) {
          const item = html("span", "", legend), mark = svg("svg", { viewBox: "0 0 30 10" }, item), i = this.colour(name);
          svg("path", { d: "M0 5H30", stroke: `var(--c${i})`, "stroke-width": 3, "stroke-dasharray": DASH[i] }, mark);
          item.append(name);
        }
      }
      this.grid = html("div", "panels", live);
      this.panels = d.panels.map(p => {
        const box = html("div", "panel", this.grid), head = html("div", "head", box);
        const view = { ...p, box, title: html("b", "", head), note: html("span", "", head), svg: svg("svg", { role: "img" }, box) };
        view.note.textContent = p.ylabel;
        view.svg.addEventListener("pointermove", e => this.hover(view, e));
        view.svg.addEventListener("pointerleave", () => this.hover(view, null));
        return view;
      });
      const row = html("div", "controls", live);
      this.inputs = d.controls.map((c, k) => this.control(c, k, row));
      const foot = html("div", "foot", live);
      this.text = html("p", "text", foot);
      this.text.setAttribute("aria-live", "polite");
      this.reset = html("button", "", foot, "Reset");
      this.reset.type = "button";
      this.reset.addEventListener("click", () => { this.state = d.controls.map((c, k) => this.start(k)); this.update(); this.inputs[0].input.focus(); });
    }

    colour(name) { return this.data.names.indexOf(name) % LIGHT.length; }

    control(c, k, row) {
      const box = html("div", "control" + (c.select ? "" : " wide"), row), id = `${this.id}-${k}`, flips = c.select && c.values.join() === "off,on";
      const label = html("label", "", box, c.label), input = html(c.select && !flips ? "select" : "input", "", box);
      label.htmlFor = input.id = id;
      if (flips) { input.type = "checkbox"; input.setAttribute("role", "switch"); }
      else if (c.select) for (const name of c.values) html("option", "", input, name);
      else { input.type = "range"; input.min = 0; input.step = 1; }
      const output = c.select ? null : html("output", "", box);
      if (output) output.htmlFor = id;
      input.addEventListener("input", () => {
        this.state[k] = flips ? +input.checked : c.select ? input.selectedIndex : +input.value;
        this.data.controls.forEach((o, j) => { if (o.by === k) this.state[j] = this.option(j)?.start ?? 0; });
        this.update();
      });
      return { input, output, label };
    }

    option(k) { const c = this.data.controls[k]; return c.by === undefined ? c : c.options[this.state[c.by]]; }
    start(k) { const c = this.data.controls[k]; return c.by === undefined ? c.start : c.options[this.data.controls[c.by].start]?.start ?? 0; }

    frame() {
      let at = this.data.index;
      for (const i of this.state) at = at[i];
      if (!this.cache.has(at)) this.cache.set(at, this.decode(this.data.frames[at]));
      return this.cache.get(at);
    }

    decode(frame) {
      const bytes = [];
      // A zero byte stands before the length of its run.
      for (let i = 0, text = atob(frame.y); i < text.length; i++) {
        const code = text.charCodeAt(i);
        if (code) bytes.push(code); else for (let run = text.charCodeAt(++i); run >= 0; run--) bytes.push(0);
      }
      let place = 0;
      const panels = this.data.panels.map((p, k) => {
        const wide = p.bytes, none = 256 ** wide - 1, [low, high] = p.range;
        const count = (p.kind === "interval" ? 3 : 1) * (p.x ? p.x.length : this.data.x.length);
        const rows = () => p.names.map(() => Array.from({ length: count }, () => {
          const code = wide === 1 ? bytes[place] : bytes[place] + 256 * bytes[place + 1];
          place += wide;
          return code === none ? NaN : low + (high - low) * code / (none - 1);
        }));
        return { title: frame.titles ? frame.titles[k] : p.title, series: rows(), xs: p.xlim && rows() };
      });
      return { panels, text: frame.text };
    }

    update() {
      this.data.controls.forEach((c, k) => {
        const { input, output, label } = this.inputs[k], option = this.option(k);
        input.disabled = !option;
        label.textContent = option?.label ?? c.label;
        if (input.type === "checkbox") { input.checked = this.state[k]; input.value = c.values[this.state[k]]; return; }
        if (c.select) { input.selectedIndex = this.state[k]; return; }
        input.max = option ? option.values.length - 1 : 0;
        input.value = this.state[k];
        const word = option ? option.values[this.state[k]] : "none";
        output.textContent = minus(word);
        input.setAttribute("aria-valuetext", `${label.textContent} ${word}`);
      });
      this.reset.disabled = this.state.every((i, k) => i === this.start(k));
      this.now = this.frame();
      this.text.textContent = this.now.text ?? "";
      this.text.hidden = !this.data.text;
      this.layout();
    }

    layout() {
      const width = this.grid.clientWidth;
      if (!width) return;
      const count = this.panels.length, wish = this.data.columns;
      const columns = Math.max(1, Math.min(wish, Math.floor((width + 12) / (wish > 2 ? 165 : 270))));
      this.grid.style.gridTemplateColumns = `repeat(${columns},minmax(0,1fr))`;
      const wide = (width - 12 * (columns - 1)) / columns;
      const high = Math.round(count === 1 ? Math.min(320, Math.max(210, wide * 0.5)) : columns === 1 ? Math.min(190, wide * 0.55) : Math.min(250, Math.max(120, wide * 0.68)));
      this.panels.forEach((view, k) => this.draw(view, this.now.panels[k], Math.floor(wide), high));
    }

    draw(view, data, W, H) {
      const node = view.svg, x = view.x ?? this.data.x, [y0, y1] = view.ylim, small = W < 250, bars = view.kind === "bar", spans = view.kind === "interval";
      const half = bars || spans ? (x[x.length - 1] - x[0]) / (x.length - 1) / 2 : 0, [x0, x1] = view.xlim ?? [x[0] - half, x[x.length - 1] + half];
      const yticks = view.yticks === false ? [] : ticks(y0, y1, H < 160 && !view.log ? 3 : 5, view.log);
      const words = yticks.map(t => (view.log ? power(t) : minus(t)));
      const left = yticks.length ? 10 + 7 * Math.max(...words.map(w => w.length)) : 4, right = 8, top = 7, bottom = this.panels.some(p => p.xlabel) ? 38 : 22;
      if (view.xlim) H = Math.round((W - left - right) * (y1 - y0) / (x1 - x0)) + top + bottom;
      const sx = v => left + (v - x0) / (x1 - x0) * (W - left - right), sy = v => H - bottom - (v - y0) / (y1 - y0) * (H - top - bottom);
      Object.assign(view, { sx, sy, top, base: H - bottom, shown: data, abscissa: x });
      node.setAttribute("viewBox", `0 0 ${W} ${H}`);
      node.setAttribute("height", H);
      view.title.textContent = data.title;
      const state = this.data.controls.map((c, k) => this.option(k) ? `${this.inputs[k].label.textContent} ${this.option(k).values?.[this.state[k]] ?? c.values[this.state[k]]}` : "").filter(Boolean).join(", ");
      node.setAttribute("aria-label", `${this.data.alt} ${data.title}; ${state}.`);
      node.replaceChildren();
      const clip = `${this.id}-clip-${this.panels.indexOf(view)}`;
      svg("rect", { x: left, y: top - 2, width: Math.max(0, W - left - right), height: H - top - bottom + 4 }, svg("clipPath", { id: clip }, svg("defs", {}, node)));
      const near = (v, low, high) => Math.min(high, Math.max(low, v));
      const names = view.xticks, at = names ? x : ticks(x0, x1, small ? 4 : W / 75, false);
      at.forEach((t, q) => {
        svg("path", { class: t === 0 && x0 < 0 && !spans ? "zero" : "grid", d: `M${Math.round(sx(t))} ${top}V${H - bottom}` }, node);
        svg("text", { x: near(sx(t), 6, W - 8), y: H - bottom + 15, "text-anchor": "middle" }, node).textContent = names?.[q] ?? minus(t);
      });
      yticks.forEach((t, i) => {
        svg("path", { class: t === 0 && !view.log ? "zero" : "grid", d: `M${left} ${Math.round(sy(t))}H${W - right}` }, node);
        svg("text", { x: left - 6, y: sy(t) + 4, "text-anchor": "end" }, node).textContent = words[i];
      });
      svg("path", { class: "zero", d: `M${left} ${H - bottom}H${W - right}` }, node);
      if (view.xlabel) svg("text", { class: "label", x: (left + W - right) / 2, y: H - 5, "text-anchor": "middle" }, node).textContent = view.xlabel;
      const plot = svg("g", { "clip-path": `url(#${clip})` }, node);
      data.series.forEach((y, j) => {
        const i = this.colour(view.names[j]), colour = `var(--c${i})`;
        if (bars) svg("path", { class: "bar", d: this.bars(view, y, half, data.series.length, j), fill: colour }, plot);
        else if (spans) x.forEach((v, q) => {
          if (!Number.isFinite(y[q])) return;
          const n = x.length, cx = sx(v);
          svg("path", { class: "line", d: `M${cx} ${sy(y[n + q])}V${sy(y[2 * n + q])}`, stroke: colour }, plot);
          svg("circle", { class: "dot", cx, cy: sy(y[q]), r: n > 20 ? 3 : 5, fill: colour }, plot);
        });
        else if (data.xs && y.filter(Number.isFinite).length === 1) {
          const q = y.findIndex(Number.isFinite);
          svg("circle", { class: "dot", cx: sx(data.xs[j][q]), cy: sy(y[q]), r: 6, fill: colour }, plot);
        } else svg("path", { class: "line", d: this.line(view, y, data.xs?.[j] ?? x), stroke: colour, "stroke-dasharray": DASH[i] }, plot);
      });
      let row = 0, free = -Infinity;  // values above the axis; where two would meet, the second goes below the first
      if (bars) data.series.forEach(y => y.forEach((v, q) => {
        if (!(v > y1)) return;
        const at = sx(x[q]) + sx(half) - sx(0) + 4, flip = at > W - 45, from = flip ? sx(x[q] - half) - 49 : at;
        row = from < free ? row + 1 : 0;
        free = from + 45;
        svg("text", { class: "label", x: flip ? from + 45 : at, y: top + 8 + 13 * row, "text-anchor": flip ? "end" : "start" }, node).textContent = "↑ " + v.toFixed(2);
      }));
      view.mark = svg("g", {}, node);
    }

    line({ sx, sy }, y, abscissa) {
      let path = "", pen = "M";
      y.forEach((v, q) => { if (Number.isFinite(v)) { path += pen + sx(abscissa[q]).toFixed(1) + " " + sy(v).toFixed(1); pen = "L"; } else pen = "M"; });
      return path;
    }

    bars({ sx, sy, base, abscissa, ylim }, y, half, count, j) {
      const wide = (sx(half * 2) - sx(0)) * 0.92 / count, zero = Math.min(base, sy(Math.max(0, ylim[0])));
      let path = "";
      y.forEach((v, q) => {
        const left = sx(abscissa[q]) - wide * count / 2 + wide * j;
        if (v) path += `M${left.toFixed(1)} ${zero.toFixed(1)}V${sy(v).toFixed(1)}h${wide.toFixed(1)}V${zero.toFixed(1)}z`;
      });
      return path;
    }

    hover(view, event) {
      view.mark?.replaceChildren();
      view.note.textContent = view.ylabel;
      if (!event || !view.shown) return;
      const box = view.svg.getBoundingClientRect(), at = event.clientX - box.left, { abscissa: x, sx, sy } = view;
      if (view.shown.xs) return this.nearest(view, at, event.clientY - box.top);
      const q = x.reduce((best, v, i) => (Math.abs(sx(v) - at) < Math.abs(sx(x[best]) - at) ? i : best), 0);
      if (view.kind !== "bar") svg("path", { class: "cross", d: `M${sx(x[q]).toFixed(1)} ${view.top}V${view.base}` }, view.mark);
      const words = view.shown.series.map((y, j) => {
        const [low, high] = view.ylim, i = this.colour(view.names[j]);
        if (view.kind === "line" && y[q] >= low && y[q] <= high) svg("circle", { class: "dot", cx: sx(x[q]), cy: sy(y[q]), r: 4.5, fill: `var(--c${i})` }, view.mark);
        return `${view.names[j] ? view.names[j] + " " : ""}${Number.isFinite(y[q]) ? minus(show(view.log ? 10 ** y[q] : y[q])) : "–"}`;
      });
      view.note.textContent = `${view.xticks?.[q] ?? `${view.xlabel || "x"} ${minus(show(x[q]))}`}: ${words.join(", ")}`;
    }

    nearest(view, across, down) {
      const { sx, sy, shown } = view, found = { far: 40 };
      shown.series.forEach((y, j) => y.forEach((v, q) => {
        const far = Math.hypot(sx(shown.xs[j][q]) - across, sy(v) - down);
        if (far < found.far) Object.assign(found, { far, j, a: shown.xs[j][q], b: v });
      }));
      if (found.j === undefined) return;
      svg("circle", { class: "dot", cx: sx(found.a), cy: sy(found.b), r: 4.5, fill: `var(--c${this.colour(view.names[found.j])})` }, view.mark);
      view.note.textContent = `${view.names[found.j]} (${minus(show(found.a))}, ${minus(show(found.b))})`;
    }
  }
  customElements.define(TAG, Figure);
})();
