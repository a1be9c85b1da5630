// The gateway itself: how to reach its broker, who its clients are, what happened.

import { ago, element, say } from "./elements.js";

const MOST_EVENTS = 100;
let started = [];

/** `GET api/info` has the same. */
export function showInfo(info) {
  say(document.getElementById("version"), info.version);
  notice("restart", info.restart_required
    ? "The configuration file has changed since the gateway started. What it says now counts after a restart." : null);
  notice("broker", info.broker.connected ? null
    : `The broker is not there: ${info.broker.reason ?? "not connected"}.`);
  document.getElementById("connect").replaceChildren(...connection(info));
}

/** A notice above everything; without text it goes away. */
export function notice(key, text) {
  const id = `notice-${key}`;
  const before = document.getElementById(id);
  if (text === null) before?.remove();
  else if (before) say(before, text);
  else document.getElementById("notices").append(element("p", { id, class: "notice" }, text));
}

function connection(info) {
  const { broker } = info;
  const steps = "Settings → Devices & services → Add integration → MQTT, and type:";
  if (broker.mode === "external") {
    return [element("p", {}, "Home Assistant and this gateway use the same broker. In Home Assistant: ", steps),
      facts([["Broker", code(broker.elsewhere ?? "the one of broker.external")],
        ["User", "as the broker asks for"]])];
  }
  const address = broker.listen[0] ?? broker.tls[0];
  if (!address) return [element("p", {}, "The broker listens nowhere.")];
  const [host, port] = reach(address);
  const local = isLoopback(host);
  const rows = [["Broker", code(host)], ["Port", code(port)]];
  if (broker.tls.length > 0) {
    const [, tlsPort] = reach(broker.tls[0]);
    rows.push(["with TLS", code(tlsPort)]);
  }
  if (info.login_needed) {
    rows.push(["User", info.user ? code(info.user) : "one of broker.users"],
      ["Password", "the one of this user"]);
  } else {
    rows.push(["User", "leave it empty"], ["Password", "leave it empty"]);
  }
  const hint = local && isLoopbackListener(broker)
    ? element("p", { class: "sub" }, "The broker can be reached from this machine alone. For Home Assistant elsewhere write ",
      code("broker: {listen: 0.0.0.0:1883, users: […]}"), " in config.yaml; ",
      code("meterbridge passwd ha"), " makes the entry of a user.") : null;
  return [element("p", {}, "In Home Assistant: ", steps), facts(rows), hint].filter((one) => one);
}

function facts(rows) {
  return element("dl", {}, rows.flatMap(([name, value]) =>
    [element("dt", {}, name), element("dd", {}, value)]));
}

function code(text) {
  return element("code", {}, text);
}

/** Host and port for others: a listener on all addresses is where this page came from. */
function reach(address) {
  const cut = address.lastIndexOf(":");
  const host = address.slice(0, cut).replace(/^\[|\]$/g, "");
  const everywhere = host === "0.0.0.0" || host === "::";
  return [everywhere ? location.hostname.replace(/^\[|\]$/g, "") : host, address.slice(cut + 1)];
}

function isLoopback(host) {
  return host === "localhost" || host === "::1" || host.startsWith("127.");
}

function isLoopbackListener(broker) {
  return [...broker.listen, ...broker.tls].every((address) => {
    const cut = address.lastIndexOf(":");
    return isLoopback(address.slice(0, cut).replace(/^\[|\]$/g, ""));
  });
}

/** `GET api/clients` has the same. */
export function showClients(list) {
  started = [];
  const connected = list.filter((client) => client.connected).length;
  say(document.getElementById("clients-count"), list.length > 0 ? `${connected} connected` : "");
  const box = document.getElementById("clients");
  if (list.length === 0) {
    box.replaceChildren(element("p", { class: "quiet" }, "Nobody is connected."));
    return;
  }
  const shown = list.slice(0, 200);
  const rows = shown.map((client) => {
    const since = element("td", {}, "away");
    if (client.connected) started.push([since, client.since]);
    const about = [client.address, client.user, client.version ? `MQTT ${client.version}` : null,
      client.persistent ? "kept" : null].filter((one) => one !== null);
    return element("tr", {},
      element("th", { scope: "row" }, client.id, element("span", { class: "sub" }, about.join(" · "))),
      element("td", {}, `${client.subscriptions}`),
      element("td", {}, `${client.queued}`),
      since);
  });
  box.replaceChildren(element("table", { "aria-label": "Clients of the broker" },
    element("thead", {}, element("tr", {},
      ["client", "subscribed", "waiting", "since"].map((one) => element("th", { scope: "col" }, one)))),
    element("tbody", {}, rows)),
  ...(list.length > shown.length
    ? [element("p", { class: "quiet" }, `and ${list.length - shown.length} more`)] : []));
  tick();
}

/** What grows older while nothing comes. */
export function tick() {
  for (const [cell, since] of started) say(cell, ago(since).replace(" ago", ""));
}

/** What happened before this page was opened; oldest first. */
export function showPast(list) {
  document.getElementById("events").replaceChildren();
  for (const { kind, data } of list) showEvent(kind, data);
}

/** Something happened: an event, or a line of the log. */
export function showEvent(kind, data) {
  const list = document.getElementById("events");
  const about = data.meter ?? data.topic ?? null;
  const message = data.message ?? data.kind ?? data.type ?? "";
  const named = kind === "log" || about === null || message.startsWith(about);
  const text = named ? message : `${about}: ${message}`;
  // A correction is an event and a line of the log.
  const known = [...list.children].slice(0, 10).some((item) => {
    const other = item.lastChild.dataset.message;
    return item.dataset.kind !== kind && (other.startsWith(message) || message.startsWith(other));
  });
  if (known || text === "") return;
  const at = new Date((data.ts ?? Date.now() / 1000) * 1000);
  const level = kind === "log" ? data.level : "event";
  list.prepend(element("li", { "data-kind": kind },
    element("time", { datetime: at.toISOString(), title: at.toLocaleString() }, at.toLocaleTimeString()),
    element("span", { class: level, "data-message": message }, text)));
  while (list.children.length > MOST_EVENTS) list.lastChild.remove();
  document.getElementById("no-events").hidden = true;
}
