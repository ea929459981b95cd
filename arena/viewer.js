// The board that replays rated games. Positions come ready-made: where stones stand from the start,
// and for each ply the points that it changed, as 3 * point + what stands there then (0 empty, 1
// first player's stone, 2 second's).
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("games-data").textContent);
  const box = document.getElementById("viewer");
  const part = (name) => box.querySelector("." + name);
  const { rows, cols, look } = data;
  const stones = {
    go: ["black", "white"], gomoku: ["black", "white"], othello: ["black", "white"],
    connect_four: ["red", "yellow"], hex: ["red", "bluestone"], tic_tac_toe: ["first", "second"],
  }[data.game] || ["black", "white"];
  // Coordinates are as large on a small board as on a large one.
  const letters = Math.min(Math.max(0.04 * Math.max(rows, cols), 0.16), 0.5);
  const rim = 1.7 * letters; // room for them, in cells
  let game = null;
  let ply = 0;

  // What stands on each point after `count` plies, and how many stones each side has lost.
  function position(diffs, count) {
    const board = new Uint8Array(rows * cols);
    for (const stone of data.start) board[Math.floor(stone / 3)] = stone % 3;
    const lost = [0, 0];
    for (let i = 0; i < count; i++) {
      for (const change of diffs[i]) {
        const point = Math.floor(change / 3);
        if (change % 3 === 0 && board[point]) lost[board[point] - 1]++;
        board[point] = change % 3;
      }
    }
    return { board, lost };
  }

  // Centre of a point. In Hex each row stands half a cell further right than the one above.
  const high = look === "hexagons" ? Math.sqrt(3) / 2 : 1;
  const centre = (point) => {
    const row = Math.floor(point / cols), col = point % cols;
    return [col + 0.5 + (look === "hexagons" ? row / 2 : 0), (row + 0.5) * high];
  };
  const width = cols + (look === "hexagons" ? (rows - 1) / 2 : 0);
  const height = rows * high + (look === "hexagons" ? 0.3 : 0);
  const fixed = (number) => +number.toFixed(3);
  const line = (x1, y1, x2, y2, kind) =>
    `<line x1="${fixed(x1)}" y1="${fixed(y1)}" x2="${fixed(x2)}" y2="${fixed(y2)}" class="${kind}"/>`;

  function starPoints() {
    if (data.game !== "go" || rows !== cols || rows < 5) return [];
    const edge = rows < 7 ? 1 : rows < 13 ? 2 : 3, middle = (rows - 1) / 2;
    const ends = [edge, rows - 1 - edge];
    const found = ends.flatMap((row) => ends.map((col) => [row, col]));
    if (rows % 2) found.push([middle, middle]);
    if (rows % 2 && rows >= 13) for (const end of ends) found.push([middle, end], [end, middle]);
    return found.map(([row, col]) => row * cols + col);
  }

  function hexagon(point, size) {
    const [x, y] = centre(point);
    return [0, 1, 2, 3, 4, 5].map((k) => {
      const angle = (Math.PI / 3) * k - Math.PI / 2;
      return [fixed(x + size * Math.cos(angle)), fixed(y + size * Math.sin(angle))];
    });
  }

  // The borders that the players are to join: top and bottom the first's, the sides the second's.
  function rims() {
    const size = 1 / Math.sqrt(3), out = [];
    const path = (points, corners, kind) => {
      const way = points.flatMap((point) => corners.map((k) => hexagon(point, size)[k].join(",")));
      out.push(`<polyline points="${way.join(" ")}" class="rim ${kind}"/>`);
    };
    const along = (n, point) => Array.from({ length: n }, (_, i) => point(i));
    path(along(cols, (i) => i), [5, 0, 1], "rim-red");
    path(along(cols, (i) => (rows - 1) * cols + i), [4, 3, 2], "rim-red");
    path(along(rows, (i) => i * cols), [5, 4, 3], "rim-blue");
    path(along(rows, (i) => i * cols + cols - 1), [1, 2], "rim-blue");
    return out.join("");
  }

  function emptyBoard() {
    const out = [];
    const all = Array.from({ length: rows * cols }, (_, point) => point);
    if (look === "lines") {
      out.push(`<rect x="0" y="0" width="${cols}" height="${rows}" rx=".15" class="b-wood"/>`);
      for (let i = 0; i < cols; i++) out.push(line(i + 0.5, 0.5, i + 0.5, rows - 0.5, "b-line"));
      for (let i = 0; i < rows; i++) out.push(line(0.5, i + 0.5, cols - 0.5, i + 0.5, "b-line"));
      for (const point of starPoints()) {
        const [x, y] = centre(point);
        out.push(`<circle cx="${x}" cy="${y}" r=".1" class="b-star"/>`);
      }
    } else if (look === "hexagons") {
      for (const point of all) {
        out.push(`<polygon points="${hexagon(point, 1 / Math.sqrt(3)).join(" ")}" class="b-hex"/>`);
      }
      out.push(rims());
    } else if (look === "holes") {
      out.push(`<rect x="0" y="0" width="${cols}" height="${rows}" rx=".25" class="b-blue"/>`);
      for (const point of all) {
        const [x, y] = centre(point);
        out.push(`<circle cx="${x}" cy="${y}" r=".4" class="b-hole"/>`);
      }
    } else {
      const kind = look === "marks" ? "b-grid" : "b-greenline";
      if (look !== "marks") out.push(`<rect width="${cols}" height="${rows}" class="b-green"/>`);
      const from = look === "marks" ? 1 : 0;
      for (let i = from; i <= cols - from; i++) out.push(line(i, 0, i, rows, kind));
      for (let i = from; i <= rows - from; i++) out.push(line(0, i, cols, i, kind));
    }
    return out.join("") + names();
  }

  function names() {
    const out = [];
    const lean = look === "hexagons";
    const put = (x, y, text) =>
      out.push(`<text x="${fixed(x)}" y="${fixed(y)}" class="b-name" font-size="${fixed(letters)}">${text}</text>`);
    data.across.forEach((name, col) => {
      put(col + 0.5 + (lean ? (rows - 1) / 2 + 0.3 : 0), height + 0.8 * letters, name);
    });
    data.down.forEach((name, row) => {
      put((lean ? row / 2 - 0.1 : 0) - 0.8 * letters, (row + 0.5) * high, name);
    });
    return out.join("");
  }

  function stone(point, colour, last) {
    const [x, y] = centre(point).map(fixed);
    const kind = stones[colour - 1];
    if (look === "marks") {
      const r = 0.28, own = `class="mark ${kind}"`;
      return colour === 1
        ? `<path d="M${x - r} ${y - r}l${2 * r} ${2 * r}m0 ${-2 * r}l${-2 * r} ${2 * r}" ${own}/>`
        : `<circle cx="${x}" cy="${y}" r="${r + 0.02}" ${own}/>`;
    }
    const ring = last ? `<circle cx="${x}" cy="${y}" r=".19" class="last on-${kind}"/>` : "";
    const size = look === "lines" ? 0.47 : look === "hexagons" ? 0.38 : 0.4;
    return `<circle cx="${x}" cy="${y}" r="${size}" class="stone ${kind}"/>${ring}`;
  }

  // The stone that the last of `count` plies put down; -1 if it put down none.
  function lastStone(diffs, count) {
    const [change] = count ? diffs[count - 1] : [];
    return change !== undefined && change % 3 ? Math.floor(change / 3) : -1;
  }

  function said(lost) {
    const n = game.moves.length;
    const where = `move ${ply} of ${n}`;
    if (!ply) return `${where}: the board as the game begins`;
    const mover = data.sides[(ply - 1) % 2];
    const given = ply <= game.given ? ", given by the opening" : "";
    const took = data.game === "go" && lost[0] + lost[1]
      ? `; taken: ${lost[0]} of ${data.sides[0]}, ${lost[1]} of ${data.sides[1]}` : "";
    const end = ply === n ? `. ${game.result}${game.note ? ": " + game.note : ""}` : "";
    return `${where}: ${mover} ${data.actions[game.moves[ply - 1]]}${given}${took}${end}`;
  }

  function show(count) {
    ply = Math.max(0, Math.min(count, game.moves.length));
    const { board, lost } = position(game.diffs, ply);
    const last = lastStone(game.diffs, ply);
    const drawn = [];
    board.forEach((colour, point) => {
      if (colour) drawn.push(stone(point, colour, point === last));
    });
    part("stones").innerHTML = drawn.join("");
    part("said").textContent = said(lost);
    part("slider").value = ply;
    part("back").disabled = part("start").disabled = ply === 0;
    part("on").disabled = part("end").disabled = ply === game.moves.length;
    part("here").href = `#${game.id}@${ply}`;
  }

  function namesOf(each) {
    return each.who.map((number) => data.players[number]);
  }

  function open(chosen, count) {
    game = chosen;
    const who = part("who");
    who.replaceChildren(...namesOf(game).map((name, side) => {
      const label = document.createElement("span"), dot = document.createElement("span");
      const kind = { first: "#2f6fb0", second: "#d1583b", black: "#161616", white: "#fafafa",
        red: "#d3402f", yellow: "#f3c431", bluestone: "#2f6fd0" }[stones[side]];
      dot.className = "dot";
      dot.style.background = kind;
      label.append(dot, `${data.sides[side]}: ${name}`);
      return label;
    }));
    part("slider").max = game.moves.length;
    part("here").textContent = game.id;
    for (const button of box.querySelectorAll(".list button")) {
      button.toggleAttribute("aria-current", button.dataset.id === game.id);
    }
    show(count);
  }

  function matching(a, b) {
    return data.games.filter((each) => {
      const [first, second] = namesOf(each);
      const fits = (x, y) => (!a || x === a) && (!b || y === b);
      return fits(first, second) || fits(second, first);
    });
  }

  function list() {
    const found = matching(part("one").value, part("other").value);
    part("count").textContent = `${found.length} of ${data.games.length} games`;
    part("list").replaceChildren(...found.map((each) => {
      const item = document.createElement("li"), button = document.createElement("button");
      const small = document.createElement("small");
      const opening = each.moves.slice(0, each.given).map((move) => data.actions[move]).join(" ");
      button.dataset.id = each.id;
      button.append(namesOf(each).join(" \u2013 "), small);
      small.textContent = `${each.result}, ${each.moves.length} moves` +
        (opening ? `, opening ${opening}` : "");
      button.toggleAttribute("aria-current", game !== null && each.id === game.id);
      button.addEventListener("click", () => open(each, each.given));
      item.append(button);
      return item;
    }));
    return found;
  }

  function choices() {
    const met = new Set(data.games.flatMap(namesOf));
    const sorted = data.order.map((i) => data.players[i]).filter((name) => met.has(name));
    for (const [name, any] of [["one", "any player"], ["other", "any opponent"]]) {
      part(name).replaceChildren(new Option(any, ""), ...sorted.map((each) => new Option(each, each)));
      part(name).addEventListener("change", () => {
        const found = list();
        if (found.length && !found.includes(game)) open(found[0], found[0].given);
      });
    }
  }

  function meet(a, b) {
    part("one").value = a;
    part("other").value = b;
    const found = list();
    if (found.length) open(found[0], found[0].given);
    box.scrollIntoView({ block: "nearest" });
  }

  // A cell of the cross-table leads to the games of that pairing.
  function linkCrossTable() {
    const table = document.querySelector("table.cross");
    if (!table) return;
    const players = [...table.rows[0].cells].slice(1).map((cell) => cell.title);
    [...table.rows].slice(1).forEach((row, i) => {
      [...row.cells].slice(1).forEach((cell, j) => {
        if (!cell.textContent) return;
        const n = matching(players[i], players[j]).length;
        cell.title += n ? `; ${n} of the games below` : "; none of the games below";
        if (!n) return;
        cell.classList.add("has");
        cell.tabIndex = 0;
        cell.setAttribute("role", "button");
        cell.addEventListener("click", () => meet(players[i], players[j]));
        cell.addEventListener("keydown", (event) => {
          if (event.key !== "Enter" && event.key !== " ") return;
          event.preventDefault();
          meet(players[i], players[j]);
        });
      });
    });
  }

  // `#ID@PLY` in the address, ID as `ghostgo arena replay` takes it.
  function follow() {
    const [id, count] = decodeURIComponent(location.hash.slice(1)).split("@");
    const found = data.games.find((each) => each.id === id);
    if (!found) return false;
    open(found, count === undefined ? found.given : Number(count) || 0);
    box.scrollIntoView({ block: "nearest" });
    return true;
  }

  document.addEventListener("keydown", (event) => {
    const busy = event.target.closest && event.target.closest("input, select, textarea");
    if (busy || event.altKey || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const inside = box.contains(event.target);
    const to = { ArrowLeft: ply - 1, ArrowRight: ply + 1,
      ...(inside ? { Home: 0, End: game.moves.length } : {}) }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    show(to);
  });

  const edge = { left: data.down.length ? rim : 0.1, top: look === "hexagons" ? 0.3 : 0.1 };
  const view = [-edge.left, -edge.top, width + edge.left + 0.15, height + edge.top + rim];
  part("board").setAttribute("viewBox", view.map(fixed).join(" "));
  part("board").innerHTML = emptyBoard() + '<g class="stones"></g>';
  part("start").addEventListener("click", () => show(0));
  part("back").addEventListener("click", () => show(ply - 1));
  part("on").addEventListener("click", () => show(ply + 1));
  part("end").addEventListener("click", () => show(game.moves.length));
  part("slider").addEventListener("input", (event) => show(Number(event.target.value)));
  choices();
  linkCrossTable();
  list();
  if (!follow()) open(data.games[0], data.games[0].given);
  window.addEventListener("hashchange", follow);
})();
