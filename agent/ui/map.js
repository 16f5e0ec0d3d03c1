// The live map: who, program and table, in three columns or as a tree, drawn anew with each picture that the agent sends.
"use strict";
(() => {
  const place = document.getElementById("map");
  const state = document.getElementById("map-state");
  const pause = document.getElementById("map-pause");
  const rows = document.getElementById("map-rows");
  const count = document.getElementById("map-count");
  const none = document.getElementById("map-none");
  const table = document.getElementById("map-table");
  const more = document.getElementById("map-more");
  const SVG = "http://www.w3.org/2000/svg";
  const RANK = ["idle", "allowed", "masked", "refused"];
  const NARROW = matchMedia("(max-width: 720px)");
  // Of the monospaced letters below, and of a line of them.
  const LETTER = 7.3;
  const LINE = 15;
  const GAP = 10;
  const STEP = 18;
  let picture = null;
  let before = new Map();
  let paused = false;

  const make = (name, attributes, text) => {
    const element = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    if (text !== undefined) element.textContent = text;
    return element;
  };
  const label = (flow) => flow.table || (flow.statements ? "(no table)" : "");

  /** Lines of at most `room` px, broken behind a separator where there is one. */
  function lines(text, room) {
    const most = Math.max(8, Math.floor(room / LETTER));
    const found = [];
    let rest = text;
    while (rest.length > most) {
      const at = Math.max(...["/", ".", "_", " "].map((sign) => rest.lastIndexOf(sign, most - 1)));
      const cut = at >= most / 2 ? at + 1 : most;
      found.push(rest.slice(0, cut));
      rest = rest.slice(cut);
    }
    return [...found, rest];
  }

  /** Who, programs and tables, each below the one it is reached through; a narrow map draws a table once for each program. */
  function graph(isNarrow) {
    const nodes = new Map();
    const edges = new Map();
    const node = (key, text, at, from) => {
      const known = nodes.get(key) ?? { text, at, from, unknown: false, classified: false };
      nodes.set(key, known);
      return known;
    };
    const edge = (from, to, key, flow) => {
      const known = edges.get(key) ?? { from, to, effect: "idle", statements: 0 };
      if (RANK.indexOf(flow.effect) > RANK.indexOf(known.effect)) known.effect = flow.effect;
      known.statements += flow.statements;
      edges.set(key, known);
    };
    const databases = new Set(picture.flows.map((flow) => flow.database).filter(Boolean));
    const named = (flow) => (databases.size > 1 ? `${flow.database}: ${label(flow)}` : label(flow));
    for (const flow of picture.flows) {
      const who = node(JSON.stringify([flow.identity]), flow.identity, 0, null);
      who.unknown ||= !flow.identified;
      const through = JSON.stringify([flow.identity, flow.process]);
      const program = node(through, flow.process, 1, who);
      edge(who, program, through, flow);
      if (!label(flow)) continue;
      const to = JSON.stringify([flow.database, label(flow), isNarrow ? through : ""]);
      const table = node(to, named(flow), 2, program);
      table.classified ||= flow.classes.length > 0;
      edge(program, table, through + to, flow);
    }
    return { nodes: [...nodes.values()], edges };
  }

  /** Three columns, each from the top. */
  function inColumns(nodes, width) {
    const gap = 120;
    const room = (width - 2 * gap) / 3;
    const bottom = [4, 4, 4];
    for (const of of nodes) {
      Object.assign(of, { x: of.at * (room + gap), y: bottom[of.at], width: room, lines: lines(of.text, room - 16) });
      of.height = 9 + LINE * of.lines.length;
      bottom[of.at] += of.height + GAP;
    }
    return Math.max(...bottom) - GAP + 4;
  }

  /** A tree, each node further in than the one it is reached through. */
  function asTree(nodes, width) {
    let bottom = 4;
    const put = (of) => {
      const x = of.at * STEP;
      Object.assign(of, { x, y: bottom, width: width - x, lines: lines(of.text, width - x - 16) });
      of.height = 9 + LINE * of.lines.length;
      bottom += of.height + GAP / 2;
      for (const below of nodes) if (below.from === of) put(below);
    };
    for (const of of nodes) if (!of.from) put(of);
    return bottom;
  }

  const middle = (of) => of.y + of.height / 2;
  function curve({ from, to }) {
    const [x1, x2] = [from.x + from.width, to.x];
    const half = (x1 + x2) / 2;
    return `M${x1} ${middle(from)}C${half} ${middle(from)} ${half} ${middle(to)} ${x2} ${middle(to)}`;
  }
  function elbow({ from, to }) {
    return `M${from.x + STEP / 2} ${from.y + from.height}V${middle(to)}H${to.x}`;
  }

  function draw() {
    const isNarrow = NARROW.matches;
    place.hidden = picture.flows.length === 0;
    if (place.hidden) return;
    const width = Math.max(280, place.clientWidth);
    const { nodes, edges } = graph(isNarrow);
    const height = isNarrow ? asTree(nodes, width) : inColumns(nodes, width);
    const drawing = make("svg", {
      viewBox: `0 0 ${width} ${height}`,
      width,
      height,
      role: "img",
      "aria-label": "Who reaches which table through which program; the table below says the same",
    });
    const now = new Map();
    // The last first: of what runs along the same line, the nearest shows.
    for (const [key, of] of [...edges].reverse()) {
      now.set(key, of.statements);
      const fresh = before.has(key) && before.get(key) !== of.statements ? " fresh" : "";
      drawing.append(make("path", { d: isNarrow ? elbow(of) : curve(of), class: `edge ${of.effect}${fresh}` }));
    }
    before = now;
    for (const of of nodes) {
      const kind = of.unknown ? " unknown" : of.classified ? " classified" : "";
      const group = make("g", { class: `node${kind}` });
      group.append(make("title", {}, of.text));
      group.append(make("rect", { x: of.x + 1, y: of.y, width: of.width - 2, height: of.height, rx: 6 }));
      const text = make("text", {});
      of.lines.forEach((line, index) => {
        text.append(make("tspan", { x: of.x + 8, y: of.y + 16 + LINE * index }, line));
      });
      group.append(text);
      drawing.append(group);
    }
    place.replaceChildren(drawing);
  }

  function list() {
    const cell = (name, text, kind = "") => {
      const td = document.createElement("td");
      td.dataset.name = name;
      td.className = text ? kind : `${kind} empty`;
      const span = document.createElement("span");
      span.textContent = text;
      td.append(span);
      return td;
    };
    const all = picture.flows.map((flow) => {
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
        cell("last (UTC)", flow.last, "time"),
      );
      return tr;
    });
    rows.replaceChildren(...all);
    count.textContent = picture.sessions;
    none.hidden = all.length > 0;
    table.closest("section").hidden = all.length === 0;
    more.hidden = !picture.more;
    more.textContent = picture.more ?? "";
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

  // On a phone the drawing says it all, and the table is long.
  table.open = !NARROW.matches;
  NARROW.addEventListener("change", () => (table.open = !NARROW.matches));
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
