// The live map: three columns, who, program and table, drawn anew with each picture that the agent sends.
"use strict";
(() => {
  const place = document.getElementById("map");
  const state = document.getElementById("map-state");
  const pause = document.getElementById("map-pause");
  const rows = document.getElementById("map-rows");
  const count = document.getElementById("map-count");
  const SVG = "http://www.w3.org/2000/svg";
  const RANK = ["idle", "allowed", "masked", "denied"];
  const ROW = 34;
  let picture = null;
  let before = new Map();
  let paused = false;

  const make = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const short = (text, room) => {
    const most = Math.max(3, Math.floor(room / 7));
    return text.length > most ? `…${text.slice(text.length - most + 1)}` : text;
  };
  const label = (flow) => flow.table || (flow.statements ? "(no table)" : "");

  function draw() {
    const width = Math.max(280, place.clientWidth);
    const gap = width < 600 ? 24 : 120;
    const column = (width - 2 * gap) / 3;
    const nodes = [new Map(), new Map(), new Map()];
    const edges = new Map();
    const node = (at, key, text, more) => {
      const known = nodes[at].get(key) ?? { text, at, row: nodes[at].size, ...more };
      nodes[at].set(key, known);
      return known;
    };
    const edge = (from, to, key, flow) => {
      const known = edges.get(key) ?? { from, to, effect: "idle", statements: 0 };
      if (RANK.indexOf(flow.effect) > RANK.indexOf(known.effect)) known.effect = flow.effect;
      known.statements += flow.statements;
      edges.set(key, known);
    };
    for (const flow of picture.flows) {
      const who = node(0, flow.identity, flow.identity, { unknown: !flow.identified });
      const key = `${flow.identity}\n${flow.process}`;
      const program = node(1, key, flow.process, {});
      edge(who, program, key, flow);
      if (!label(flow)) continue;
      const name = `${flow.database}\n${label(flow)}`;
      const table = node(2, name, label(flow), { classified: flow.classes.length > 0 });
      table.classified ||= flow.classes.length > 0;
      edge(program, table, `${key}\n${name}`, flow);
    }
    const height = ROW * Math.max(1, ...nodes.map((all) => all.size)) + 8;
    const drawing = make("svg", {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": "Who reaches which table through which program; the table below says the same",
    });
    const y = (of) => of.row * ROW + ROW / 2 + 4;
    const now = new Map();
    for (const [key, of] of edges) {
      now.set(key, of.statements);
      const [x1, x2] = [of.from.at * (column + gap) + column, of.to.at * (column + gap)];
      const middle = (x1 + x2) / 2;
      const fresh = before.has(key) && before.get(key) !== of.statements ? " fresh" : "";
      drawing.append(
        make("path", {
          d: `M${x1} ${y(of.from)}C${middle} ${y(of.from)} ${middle} ${y(of.to)} ${x2} ${y(of.to)}`,
          class: `edge ${of.effect}${fresh}`,
        }),
      );
    }
    before = now;
    for (const all of nodes) {
      for (const of of all.values()) {
        const kind = of.unknown ? " unknown" : of.classified ? " classified" : "";
        const group = make("g", { class: `node${kind}` });
        const x = of.at * (column + gap);
        group.append(make("title", {}, of.text));
        group.append(make("rect", { x, y: y(of) - 12, width: column, height: 24, rx: 6 }));
        group.append(make("text", { x: x + 8, y: y(of) + 4 }, short(of.text, column - 16)));
        drawing.append(group);
      }
    }
    place.replaceChildren(drawing);
  }

  function list() {
    const cell = (name, text, kind) => {
      const td = document.createElement("td");
      td.dataset.name = name;
      if (kind) td.className = kind;
      const span = document.createElement("span");
      span.textContent = text;
      td.append(span);
      return td;
    };
    const lines = picture.flows.map((flow) => {
      const tr = document.createElement("tr");
      const effect = cell("effect", flow.effect);
      effect.firstChild.className = `tag ${flow.effect}`;
      tr.append(
        cell("who", flow.identity),
        cell("program", flow.process, "mono"),
        cell("database", flow.database),
        cell("table", flow.table),
        cell("classes", flow.classes.join(", ")),
        effect,
        cell("statements", flow.statements, "number"),
        cell("refused", flow.denied, "number"),
        cell("masked", flow.masked, "number"),
        cell("open sessions", flow.sessions, "number"),
        cell("last", flow.last, "time"),
      );
      return tr;
    });
    rows.replaceChildren(...lines);
    count.textContent = picture.sessions;
  }

  const show = () => {
    if (paused || !picture) return;
    draw();
    list();
  };
  function connect() {
    const source = new EventSource(place.dataset.events);
    source.addEventListener("picture", (event) => {
      picture = JSON.parse(event.data);
      show();
    });
    source.addEventListener("open", () => {
      state.textContent = "Live.";
    });
    source.addEventListener("error", () => {
      state.textContent = "Not connected: what is shown is old.";
      // An answer that is no stream ends it for good: the log-in is over, or the agent was restarted and knows of none.
      if (source.readyState === EventSource.CLOSED) again();
    });
  }

  async function again() {
    // Whoever is not logged in is sent elsewhere.
    const isKnown = await fetch(location.href, { cache: "no-store", redirect: "manual" }).then(
      (answer) => answer.type !== "opaqueredirect",
      () => true,
    );
    if (isKnown) {
      setTimeout(connect, 2000);
      return;
    }
    const link = document.createElement("a");
    link.href = "/login";
    link.textContent = "Log in again";
    state.replaceChildren("Not connected: what is shown is old. ", link);
  }

  connect();
  pause.hidden = false;
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.textContent = paused ? "Go on" : "Pause";
    state.textContent = paused ? "Paused." : "Live.";
    show();
  });
  new ResizeObserver(() => {
    if (picture) draw();
  }).observe(place);
})();
