"use strict";
// Draws what the element #figures holds, each chart into its own element. All colours are variables of page.css, so that a
// drawing follows the reader's scheme and the printer's. Names are only ever text.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const INTERVALS = { day: d3.utcDay, week: d3.utcMonday, month: d3.utcMonth };
  const FORMATS = { day: "%a %-d %b %Y", week: "week of %-d %b %Y", month: "%B %Y" };
  const PRINTED = 330; // CSS pixels of half a sheet's width, A4 or Letter
  const colour = (slot) => `var(--${slot === "rest" ? "rest" : `s${slot}`})`;
  const percent = d3.format(".0%");

  function amount(value) {
    if (value === 0) return "0";
    return Math.abs(value) < 1 ? String(Number(value.toPrecision(3))) : d3.format(",.2~f")(value);
  }

  function short(value) {
    if (Math.abs(value) < 1000) return String(Number(value.toPrecision(3)));
    return d3.format(".3~s")(value).replace("G", "B");
  }

  const frame = (title, width) => ({
    className: "drawn",
    ariaLabel: title,
    width,
    height: 230,
    marginTop: 24,
    marginLeft: 44,
    marginRight: 12,
    marginBottom: 34,
  });
  const tip = { fill: "var(--panel)", stroke: "var(--line)", textPadding: 9, fontSize: 12 };

  function overTime(figure, width) {
    const starts = figure.starts.map((day) => new Date(day));
    const interval = INTERVALS[figure.step];
    return {
      starts,
      when: d3.utcFormat(FORMATS[figure.step]),
      x: {
        type: "utc",
        label: null,
        domain: [starts[0], interval.offset(starts[starts.length - 1])],
        ticks: Math.max(2, Math.floor(width / 90)),
        tickSize: 4,
      },
    };
  }

  const draw = {
    stack(figure, title, width) {
      const { starts, when, x } = overTime(figure, width);
      const rows = figure.series.flatMap(({ name, slot, values }) =>
        values
          .map((value, at) => ({ start: starts[at], value, slot: colour(slot), name }))
          .filter(({ value }) => value > 0),
      );
      const inset = width / starts.length > 12 ? 1 : 0.25;
      return Plot.plot({
        ...frame(title, width),
        x,
        y: { label: figure.unit, ticks: 4, tickFormat: short, tickSize: 0, nice: true },
        marks: [
          Plot.gridY({ ticks: 4, stroke: "var(--grid)", strokeOpacity: 1 }),
          Plot.rectY(rows, {
            x: "start",
            interval: INTERVALS[figure.step],
            y: "value",
            fill: "slot",
            insetLeft: inset,
            insetRight: inset,
            title: ({ name, start, value }) => `${name}\n${when(start)}\n${amount(value)} ${figure.unit}`,
            tip,
          }),
          Plot.ruleY([0], { stroke: "var(--soft)" }),
        ],
      });
    },

    lines(figure, title, width) {
      const { starts, when, x } = overTime(figure, width);
      const middle = (start) => new Date((+start + +INTERVALS[figure.step].offset(start)) / 2);
      const rows = figure.series.flatMap(({ slot, values }) =>
        values.map((value, at) => ({ start: middle(starts[at]), value, slot: colour(slot), of: starts[at] })),
      );
      return Plot.plot({
        ...frame(title, width),
        x,
        y: { label: null, domain: [0, 1], ticks: 4, tickFormat: percent, tickSize: 0 },
        marks: [
          Plot.gridY({ ticks: 4, stroke: "var(--grid)", strokeOpacity: 1 }),
          Plot.ruleY([0], { stroke: "var(--soft)" }),
          Plot.lineY(rows, { x: "start", y: "value", stroke: "slot", strokeWidth: 1.75 }),
          Plot.dot(rows, {
            x: "start",
            y: "value",
            fill: "slot",
            r: 2.25,
            title: ({ of, value }) => `${when(of)}\n${percent(value)}`,
            tip,
          }),
        ],
      });
    },

    bridge(figure, title, width) {
      let level = 0;
      const last = figure.steps.length - 1;
      const rows = figure.steps.map(({ name, value }, at) => {
        const isSum = at === 0 || at === last;
        const from = isSum ? 0 : level;
        level = isSum ? value : level + value;
        const fill = isSum ? "var(--s0)" : value > 0 ? "var(--s1)" : "var(--s2)";
        return { name: name.replace(" ", "\n"), from, to: level, value, isSum, fill };
      });
      const signed = ({ value, isSum }) => `${isSum || value < 0 ? "" : "+"}${amount(value)}`.replace("-", "\u2212");
      return Plot.plot({
        ...frame(title, width),
        marginBottom: 44,
        x: { label: null, domain: rows.map(({ name }) => name), padding: 0.3, tickSize: 0 },
        y: { label: figure.unit, ticks: 4, tickFormat: short, tickSize: 0, nice: true, zero: true },
        marks: [
          Plot.gridY({ ticks: 4, stroke: "var(--grid)", strokeOpacity: 1 }),
          Plot.barY(rows, { x: "name", y1: "from", y2: "to", fill: "fill", rx: 1.5 }),
          Plot.text(rows, {
            x: "name",
            y: ({ from, to }) => Math.max(from, to),
            text: signed,
            dy: -8,
            fill: "var(--text)",
          }),
          Plot.ruleY([0], { stroke: "var(--soft)" }),
        ],
      });
    },
  };

  function show(place, width) {
    if (!width || place.dataset.width === String(width)) return;
    const drawing = draw[figures[place.dataset.chart].kind](figures[place.dataset.chart], place.dataset.title, width);
    // Plot's own style would be one more that the page has to allow; page.css has what is needed of it.
    drawing.querySelector("style").remove();
    drawing.setAttribute("role", "img");
    place.replaceChildren(drawing);
    place.dataset.width = width;
  }

  const fit = (place) => show(place, Math.floor(place.clientWidth));
  const places = document.querySelectorAll("[data-chart]");
  places.forEach(fit);
  let isPrinting = false;
  const resized = new ResizeObserver((entries) => {
    if (!isPrinting) requestAnimationFrame(() => entries.forEach(({ target }) => fit(target)));
  });
  places.forEach((place) => resized.observe(place));
  // On paper two stand side by side; scaled down from a screen's width their text would be too small to read.
  addEventListener("beforeprint", () => {
    isPrinting = true;
    places.forEach((place) => show(place, PRINTED));
  });
  addEventListener("afterprint", () => {
    isPrinting = false;
    places.forEach(fit);
  });
})();
