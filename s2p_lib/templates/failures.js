"use strict";
// Filters, sorting and details of failures.html. Text from outside enters the page by textContent only.
(() => {
  const photos = JSON.parse(document.getElementById("data").textContent);
  const byId = (id) => document.getElementById(id);
  const form = byId("filters"), gallery = byId("gallery"), dialog = byId("details");
  if (!photos.length) return;
  const items = [...gallery.children]; // items[i] shows photos[i]
  const buttons = items.map(addButton);
  let shown = []; // numbers of the photos that pass the filters, in the order seen
  let current = 0; // number of the photo in the dialog

  form.hidden = byId("count").hidden = false;
  form.addEventListener("input", show);
  form.addEventListener("submit", (event) => event.preventDefault());
  gallery.addEventListener("keydown", moveFocus);
  gallery.addEventListener("focusin", (event) => event.target.matches(".open") && rove(buttons.indexOf(event.target)));
  dialog.addEventListener("keydown", (event) => {
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  dialog.addEventListener("click", (event) => event.target === dialog && isOutside(event) && dialog.close());
  dialog.addEventListener("close", () => buttons[current].focus());
  byId("clear").addEventListener("click", () => { form.reset(); show(); });
  byId("previous").addEventListener("click", () => step(-1));
  byId("next").addEventListener("click", () => step(1));
  byId("close").addEventListener("click", () => dialog.close());
  show();

  function show() {
    const wanted = Object.fromEntries(new FormData(form));
    const [name, direction] = wanted.sort.split(" ");
    const sign = direction === "up" ? 1 : -1;
    shown = photos.map((_, i) => i).filter((i) => passes(photos[i], wanted));
    shown.sort((a, b) => sign * (photos[a][name] - photos[b][name]) || a - b);
    gallery.replaceChildren(...shown.map((i) => items[i])); // hundreds of hidden ones would slow the layout
    byId("count").textContent = shown.length
      ? `${shown.length} of ${photos.length} photos on this page: ` + ["missed private", "false private", "correct"]
          .map((outcome) => `${shown.filter((i) => photos[i].outcome === outcome).length} ${outcome}`).join(", ")
      : `None of the ${photos.length} photos on this page passes the filters; Reset brings them back.`;
    rove(shown[0]);
  }

  function passes(photo, wanted) {
    const same = (name) => !wanted[name] || photo[name] === wanted[name];
    return ["label", "prediction", "source", "top_scene"].every(same)
      && (!wanted.outcome || photo.outcome === wanted.outcome || (wanted.outcome === "failed" && photo.outcome !== "correct"))
      && (!wanted.slice || photo.slices.includes(wanted.slice))
      && !(photo.confidence < Number(wanted.low || 0)) && !(photo.confidence > Number(wanted.high || 1));
  }

  // Only one photo is a stop for Tab; arrow keys go from photo to photo.
  function rove(i) {
    buttons.forEach((button, k) => (button.tabIndex = k === i ? 0 : -1));
  }

  function moveFocus(event) {
    const at = shown.indexOf(buttons.indexOf(document.activeElement));
    const top = (k) => items[shown[k]].offsetTop;
    const inNextRow = shown.findIndex((_, k) => top(k) > top(0));
    const columns = inNextRow < 0 ? shown.length : inNextRow;
    const last = shown.length - 1;
    const to = {
      ArrowLeft: at - 1, ArrowRight: at + 1, ArrowUp: at - columns, ArrowDown: at + columns, Home: 0, End: last,
    }[event.key];
    if (at < 0 || to === undefined) return;
    event.preventDefault();
    if (to >= 0 && to <= last) buttons[shown[to]].focus();
  }

  function addButton(item, i) {
    const button = make("button", "open");
    button.type = "button";
    button.setAttribute("aria-haspopup", "dialog");
    button.setAttribute("aria-label", `Details of ${photos[i].image}`);
    button.addEventListener("click", () => { fill(i); dialog.showModal(); dialog.scrollTop = 0; });
    item.firstElementChild.append(button);
    return button;
  }

  function step(by) {
    const to = shown.indexOf(current) + by;
    if (to < 0 || to >= shown.length) return;
    fill(shown[to]);
    byId("title").focus();
    dialog.scrollTop = 0;
  }

  function fill(i) {
    const photo = photos[i], at = shown.indexOf(i), inGrid = items[i].querySelector("img");
    current = i;
    byId("place").textContent = `Photo ${at + 1} of ${shown.length}`;
    byId("previous").disabled = at === 0;
    byId("next").disabled = at === shown.length - 1;
    byId("title").textContent = photo.image;
    byId("picture").hidden = !inGrid;
    if (inGrid) Object.assign(byId("picture"), { src: inGrid.src, alt: inGrid.alt });
    byId("facts").replaceChildren(...Object.entries({
      outcome: photo.outcome + (photo.gone ? ", the photo is gone since the run" : ""),
      label: photo.label,
      called: photo.prediction,
      "p of private": number(photo.p_private, 3, false),
      confidence: number(photo.confidence, 3, false),
      loss: `${number(photo.loss, 2, false)} nats`,
      margin: `${number(photo.margin, 2)} (log-odds of the label; above 0 is right)`,
      source: photo.source,
      because: photo.reasons,
    }).flatMap(([term, text]) => [make("dt", "", term), make("dd", /^(private|public)$/.test(text) ? text : "", text)]));
    byId("scenes").replaceChildren(...photo.scenes.map(([scene, p]) => {
      const bar = make("div", "", `${scene} `);
      bar.style.setProperty("--p", p);
      bar.append(make("span", "", number(p, 2, false)));
      return bar;
    }));
    fillWhy(photo);
    byId("flip").textContent = photo.flip.words;
    byId("flips").replaceChildren(...photo.flip.scenes.map((text) => make("li", "", text)));
  }

  function fillWhy({ bars, rest, margins }) {
    const rows = bars.map(([scene, logit, mean, part]) => [scene, `logit ${number(logit, 2)}, mean ${number(mean, 2)}`, part]);
    if (rest[0]) rows.push([`the other ${rest[0]} scenes`, "", rest[1]]);
    const widest = Math.max(...rows.map(([, , part]) => Math.abs(part)), 1e-9);
    byId("why").replaceChildren(...rows.map(([scene, detail, part]) => {
      const row = make("tr"), head = make("th", "", scene), axis = make("div", "axis"), bar = make("i", side(part));
      head.scope = "row";
      if (detail) head.append(make("br"), make("small", "", detail));
      const width = 50 * Math.abs(part) / widest;
      bar.style.width = `${width}%`;
      bar.style.left = `${part < 0 ? 50 - width : 50}%`;
      axis.append(bar);
      axis.setAttribute("aria-hidden", "true"); // the number beside it says the same
      const cell = make("td");
      cell.append(axis);
      row.append(head, cell, make("td", "n", number(part, 2)));
      return row;
    }));
    const [ofMean, sum, ofPhoto] = margins;
    byId("sums").replaceChildren(...[
      ["sum of all scenes", sum], ["margin of the mean photo", ofMean],
      [`margin of this photo: ${side(ofPhoto)}, as it is ${ofPhoto < 0 ? "below" : "not below"} 0`, ofPhoto],
    ].map(([text, value]) => {
      const row = make("tr"), head = make("th", "", text);
      head.scope = "row";
      head.colSpan = 2;
      row.append(head, make("td", "n", number(value, 2)));
      return row;
    }));
  }

  function side(part) {
    return part < 0 ? "public" : "private";
  }

  function number(value, digits, withSign = true) {
    if (value === null) return "not finite";
    return (withSign && value >= 0 ? "+" : "") + value.toFixed(digits).replace("-", "\u2212");
  }

  function make(tag, className = "", text = "") {
    const node = document.createElement(tag);
    if (className) node.className = className;
    if (text) node.textContent = text;
    return node;
  }

  function isOutside({ clientX: x, clientY: y }) {
    const box = dialog.getBoundingClientRect();
    return x < box.left || x > box.right || y < box.top || y > box.bottom;
  }
})();
