// The meters: one card each, with live values.

import { ago, element, number, say } from "./elements.js";

const cards = new Map();
/** How a new meter is accepted; null while the gateway has no such request. */
let adopt = null;

/** Takes in the list of meters: `GET api/meters` has the same. */
export function showMeters(list) {
  const box = document.getElementById("meters");
  const names = new Set(list.map((meter) => meter.name));
  for (const [name, card] of cards) {
    if (!names.has(name)) {
      card.root.remove();
      cards.delete(name);
    }
  }
  list.forEach((meter, place) => {
    const before = cards.get(meter.name);
    const folded = list.length > 6;
    const shape = JSON.stringify([folded, meter.title, meter.serial, meter.channels, isNew(meter), adopt !== null]);
    let card = before;
    if (before === undefined || before.shape !== shape) {
      card = build(meter, folded);
      card.shape = shape;
      before?.root.replaceWith(card.root);
      cards.set(meter.name, card);
    }
    if (box.children[place] !== card.root) box.insertBefore(card.root, box.children[place] ?? null);
    update(card, meter);
  });
  say(document.getElementById("meters-count"), list.length > 1 ? `${list.length}` : "");
  document.getElementById("no-meters")?.remove();
  if (list.length === 0) {
    box.append(element("p", { id: "no-meters", class: "panel quiet" },
      "No meter is configured, and none was heard. Write an entry under meters: in config.yaml."));
  }
  if (adopt === null && list.some(isNew)) findAdoption(list);
}

/** New values of one meter. */
export function showReadings(values) {
  const card = cards.get(values.name);
  if (card) update(card, values);
}

/** A meter came or went. */
export function showAvailability({ name, online }) {
  const card = cards.get(name);
  if (card) update(card, { online });
}

/** What grows older while nothing comes. */
export function tick() {
  for (const card of cards.values()) tellTime(card);
}

function isNew(meter) {
  return meter.new ?? meter.adopted;
}

/**
 * Channels that somebody has named, or that do something special, come first; the rest is folded, and
 * among many meters all of them are.
 */
function build(meter, foldAll) {
  const card = { cells: new Map(), heard: meter.last_seen !== null };
  const title = meter.title ?? "waiting for its first packet";
  card.state = element("p", { class: "state", "data-state": "waiting" });
  card.seen = element("span", { class: "seen" });
  card.power = element("span", {}, "–");
  const named = meter.channels.filter((one) => one.name !== one.channel || one.role !== "load");
  const rest = meter.channels.filter((one) => !named.includes(one));
  const [shown, folded] = foldAll ? [[], meter.channels] : rest.length + named.length <= 8 ? [meter.channels, []]
    : named.length > 0 ? [named, rest] : [rest.slice(0, 8), rest.slice(8)];
  const name = encodeURIComponent(meter.name);
  card.root = element("article", { class: "meter", "data-meter": meter.name },
    element("header", {},
      element("h3", {}, meter.name),
      isNew(meter) ? element("span", { class: "badge" }, "new") : null,
      card.state),
    element("p", { class: "sub" }, [title, meter.serial ? `no.\u00a0${meter.serial}` : null]
      .filter((one) => one !== null).join(" · "), card.seen),
    isNew(meter) ? newcomer(meter) : null,
    meter.channels.length > 0
      ? element("p", { class: "power" }, card.power, element("span", { class: "unit" }, " W")) : null,
    shown.length > 0 ? table(meter, shown, card) : null,
    folded.length > 0
      ? element("details", {}, element("summary", {}, `${folded.length} ${shown.length > 0 ? "further " : ""}channels`),
        table(meter, folded, card)) : null,
    card.heard ? element("p", { class: "links" },
      element("a", { href: `api/meters/${name}/openhab.things` }, "openHAB things"),
      element("a", { href: `api/meters/${name}/openhab.items` }, "openHAB items")) : null);
  return card;
}

function newcomer(meter) {
  const words = "No entry of the configuration names this meter; it was taken in by itself.";
  if (adopt === null || !meter.serial) return element("p", { class: "sub" }, words);
  const button = element("button", { type: "button" }, "Keep it");
  button.addEventListener("click", () => adopt(meter, button));
  return element("p", { class: "sub" }, words, " ", button);
}

function table(meter, channels, card) {
  const rows = channels.map((channel) => {
    const cell = { channel, now: element("td"), total: element("td") };
    card.cells.set(channel.channel, cell);
    const key = channel.name === channel.channel ? [] : [channel.channel];
    if (channel.role !== "load") key.push(channel.role);
    if (channel.type === "gas" || channel.type === "water") key.push(channel.type);
    return element("tr", {},
      element("th", { scope: "row" }, channel.name,
        key.length > 0 ? element("span", { class: "sub" }, key.join(" · ")) : null),
      cell.now, cell.total);
  });
  return element("table", { "aria-label": `Channels of ${meter.name}` },
    element("thead", {}, element("tr", {},
      element("th", { scope: "col" }, "channel"),
      element("th", { scope: "col" }, "now"),
      element("th", { scope: "col" }, "total"))),
    element("tbody", {}, rows));
}

function update(card, values) {
  if (values.last_seen !== undefined) card.lastSeen = values.last_seen;
  if (values.online !== undefined) {
    const state = values.online ? "online" : card.heard ? "offline" : "waiting";
    card.state.dataset.state = state;
    say(card.state, state === "waiting" ? "not heard yet" : state);
    card.root.classList.toggle("is-offline", !values.online);
  }
  if (values.power !== undefined) say(card.power, values.power === null ? "–" : watts(values.power));
  if (values.state) {
    for (const [key, cell] of card.cells) fill(cell, values.state[key] ?? {});
  }
  tellTime(card);
}

function tellTime(card) {
  say(card.seen, card.lastSeen ? ` · ${ago(card.lastSeen)}` : "");
}

function fill({ channel, now, total }, values) {
  const current = values.current === undefined ? "" : `${number(values.current, 2)} A`;
  if (values.power !== undefined) put(now, `${watts(values.power)} W`, current);
  else if (values.temperature !== undefined) put(now, `${number(values.temperature, 1)} °C`, "");
  else if (values.voltage !== undefined) put(now, `${number(values.voltage, 1)} V`, "");
  else put(now, current || "", "");
  if (values.energy !== undefined) {
    const back = values.energy_export;
    put(total, `${number(values.energy, 2)} kWh`,
      back === undefined ? "" : `${number(back, 2)} kWh back`);
  } else if (values.total !== undefined) {
    put(total, `${number(values.total, 1)} ${channel.total_unit ?? ""}`.trim(), "");
  } else if (values.count !== undefined) put(total, number(values.count, 0), "");
  else put(total, "", "");
}

function put(cell, text, below) {
  if (!cell.firstChild) cell.append(document.createTextNode(""), element("span", { class: "sub" }));
  if (cell.firstChild.data !== text) cell.firstChild.data = text;
  say(cell.lastChild, below);
}

function watts(value) {
  return number(value, Math.abs(value) < 100 ? 1 : 0);
}

/** Looks whether the gateway takes `adopt` over HTTP, and shows the cards anew if it does. */
async function findAdoption(list) {
  adopt = undefined;
  const answer = await fetch("api/openapi.json").catch(() => null);
  const api = answer?.ok ? await answer.json().catch(() => null) : null;
  if (!Object.keys(api?.paths ?? {}).some((path) => path.startsWith("/api/bridge/"))) return;
  adopt = async (meter, button) => {
    button.disabled = true;
    const body = JSON.stringify({ serial: meter.serial });
    const reply = await fetch("api/bridge/adopt", { method: "POST", body }).catch(() => null);
    const said = await reply?.json().catch(() => null);
    if (!reply?.ok) {
      button.disabled = false;
      button.textContent = `Not done: ${said?.error ?? said?.msg ?? "no answer"}`;
    }
  };
  showMeters(list);
}
