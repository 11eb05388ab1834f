// Draws the figures that Python sends: token names become colours, the x axis follows the switch, labels stand at the
// ends of curves. Only charts in sight are drawn; plotly itself is loaded for the first one.
"use strict";

window.studio = window.studio || {};

(() => {
  const words = window.studioWords;
  const figures = new Map();
  const due = new Set();
  const LABEL_GAP = 14;
  const NARROW = 440; // pixels
  let axis = localStorage.getItem("so-axis") || "step";
  let plotly = null;

  const loaded = () =>
    (plotly ??= new Promise((done, failed) => {
      const script = document.createElement("script");
      script.src = "/static/plotly.js";
      script.onload = () => done(window.Plotly);
      script.onerror = failed;
      document.head.append(script);
    }));

  // What gr.HTML components call

  studio.takes = (found) => {
    for (const [name, figure] of Object.entries(found)) {
      figures.set(name, figure);
      redraw(name);
    }
  };

  studio.draws = (props, watch) => {
    const take = () => {
      studio.takes(JSON.parse(props.value || "{}"));
      hideWhatWasNotMeasured();
    };
    take();
    watch("value", take);
  };

  studio.slots = (element) => {
    for (const slot of element.querySelectorAll("[data-chart]")) {
      sights.observe(slot);
      sizes.observe(slot.querySelector(".so-plot"));
      addSaveButton(slot);
      redraw(slot.dataset.chart);
    }
    hideWhatWasNotMeasured();
    pressAxis();
  };

  // When to draw

  const sights = new IntersectionObserver((entries) => {
    for (const { target, isIntersecting } of entries) {
      target.dataset.seen = isIntersecting;
      if (isIntersecting && due.has(target.dataset.chart)) redraw(target.dataset.chart);
    }
  }, { rootMargin: "200px" });

  const sizes = new ResizeObserver((entries) => {
    for (const { target } of entries) {
      if (target.classList.contains("js-plotly-plot") && target.offsetWidth) redraw(target.parentElement.dataset.chart);
    }
  });

  async function redraw(name) {
    due.add(name);
    const slot = document.querySelector(`[data-chart="${CSS.escape(name)}"]`);
    const figure = figures.get(name);
    if (slot) slot.classList.toggle("so-has-data", Boolean(figure));
    if (!slot || !figure || slot.dataset.seen !== "true") return;
    due.delete(name);
    const place = slot.querySelector(".so-plot");
    const { data, layout } = dressed(figure, place);
    await (await loaded()).react(place, data, layout, {
      displayModeBar: false, displaylogo: false, doubleClick: "reset",
    });
    place.dataset.points = Math.max(0, ...data.map((trace) => (trace.yaxis === "y2" ? 0 : trace.x.length)));
  }

  function redrawAll() {
    for (const name of figures.keys()) redraw(name);
  }

  // From Python's figure to plotly's

  function dressed(figure, place) {
    const tokens = getComputedStyle(document.body);
    const color = (value) => {
      if (typeof value === "string" && value[0] === "@") return token(tokens, value.slice(1));
      if (Array.isArray(value)) return figure.plain ? value.map(color) : value; // the numbers: nothing to colour
      if (value && typeof value === "object") {
        return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, color(inner)]));
      }
      return value;
    };
    if (figure.plain) return plain(figure, place, color);
    const data = figure.data.map((trace) => ({ ...color(trace), x: along(trace.meta.x) }));
    const layout = color(figure.layout);
    layout.height = place.offsetHeight;
    layout.width = place.offsetWidth;
    const title = along(layout.meta.titles);
    layout.xaxis = {
      ...layout.xaxis, title: { ...layout.xaxis.title, text: title }, unifiedhovertitle: { text: `${title} %{x}` },
    };
    layout.xaxis.nticks = Math.max(2, Math.floor(layout.width / 80));
    layout.uirevision = `${figure.layout.uirevision}-${axis}`;
    layout.dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
    const places = data.filter((trace) => trace.yaxis !== "y2").flatMap((trace) => trace.x);
    const [first, last] = [Math.min(...places), Math.max(...places)];
    if (first < last) layout.xaxis.autorangeoptions = { clipmin: first, clipmax: last }; // a fixed range would undo a zoom
    const { shapes, annotations } = marks(figure, color);
    layout.shapes = shapes;
    layout.annotations = [...endLabels(data, place, layout), ...(layout.height > 200 ? annotations : [])];
    return { data, layout };
  }

  // "accent" or "danger/40": the opacity in per cent

  function token(tokens, words) {
    const [name, share] = words.split("/");
    const found = tokens.getPropertyValue(`--so-${name}`).trim();
    if (share === undefined) return found;
    const [red, green, blue] = [1, 3, 5].map((at) => parseInt(found.slice(at, at + 2), 16));
    return `rgba(${red},${green},${blue},${Number(share) / 100})`;
  }

  // A figure that is no curve over steps is drawn as it is; in a narrow place the ticks have their short names.

  function plain(figure, place, color) {
    const layout = { ...color(figure.layout), width: place.offsetWidth, height: place.offsetHeight };
    for (const [name, ticktext] of place.offsetWidth < NARROW ? Object.entries(figure.narrow ?? {}) : []) {
      layout[name] = { ...layout[name], ticktext };
    }
    return { data: color(figure.data), layout };
  }

  const along = (byAxis) => byAxis[axis] ?? byAxis.time;

  function endLabels(data, place, layout) {
    const labelled = data.filter((trace) => trace.meta.label && trace.x.length);
    const all = data.filter((trace) => trace.yaxis !== "y2").flatMap((trace) => trace.y).filter((y) => y !== null);
    const [low, high] = layout.yaxis.range ??
      [Math.min(...all, layout.yaxis.rangemode === "tozero" ? 0 : Infinity), Math.max(...all)];
    const pixel = (place.offsetHeight - layout.margin.t - layout.margin.b) / (high - low || 1);
    let above = Infinity; // labels are placed from the top; each keeps its distance from the one above
    return labelled
      .map((trace) => ({ trace, y: trace.y[trace.y.length - 1] }))
      .sort((a, b) => b.y - a.y)
      .map(({ trace, y }) => {
        const wanted = (y - low) * pixel;
        const placed = Math.min(wanted, above - LABEL_GAP);
        above = placed;
        return {
          x: 1, xref: "paper", y, text: trace.meta.label, showarrow: false, xanchor: "left", xshift: 6,
          yshift: placed - wanted, font: { size: 12, color: trace.line.color },
        };
      });
  }

  function marks(figure, color) {
    const shapes = [];
    const annotations = [];
    for (const mark of figure.meta.marks) {
      const x = along(mark.x);
      const line = { color: color(mark.color), width: 1, dash: "dot" };
      shapes.push({ type: "line", x0: x, x1: x, yref: "paper", y0: 0, y1: 1, line });
      annotations.push({
        x, yref: "paper", y: 1, yanchor: "top", xanchor: "left", xshift: 3, text: mark.label, showarrow: false,
        font: { size: 11, color: line.color },
      });
    }
    return { shapes, annotations };
  }

  // The switch of the x axis, the missing card, saving a picture

  document.addEventListener("click", (event) => {
    const button = event.target.closest("button[data-axis]");
    if (!button) return;
    axis = button.dataset.axis;
    localStorage.setItem("so-axis", axis);
    pressAxis();
    redrawAll();
  });

  function pressAxis() {
    for (const button of document.querySelectorAll("button[data-axis]")) {
      button.setAttribute("aria-pressed", String(button.dataset.axis === axis));
    }
  }

  function hideWhatWasNotMeasured() {
    const measured = Boolean(figures.get("cpu"));
    document.documentElement.classList.toggle("so-no-card", measured && !figures.has("gpu"));
    for (const name of ["decisions", "gpu", "vram", "temperature", "power"]) {
      const slot = document.querySelector(`[data-chart="${name}"]`);
      if (slot) slot.hidden = !figures.get(name);
    }
  }

  function addSaveButton(slot) {
    if (slot.querySelector(".so-save")) return;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "so-icon so-save";
    button.textContent = "PNG";
    button.title = button.ariaLabel = words["chart.png"];
    button.addEventListener("click", async () => {
      const place = slot.querySelector(".so-plot");
      if (!place.classList.contains("js-plotly-plot")) return;
      const { data, layout } = dressed(figures.get(slot.dataset.chart), place);
      layout.paper_bgcolor = getComputedStyle(document.body).getPropertyValue("--so-card").trim();
      await (await loaded()).downloadImage({ data, layout }, {
        format: "png", scale: 2, width: layout.width, height: layout.height, filename: slot.dataset.chart,
      });
    });
    slot.querySelector("figcaption").append(button);
  }

  // Light and dark

  addEventListener("DOMContentLoaded", () => {
    new MutationObserver(redrawAll).observe(document.body, { attributes: true, attributeFilter: ["class"] });
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redrawAll);
  });
})();
