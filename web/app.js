// The status page: everything comes by one stream of server-sent events.

import { say } from "./elements.js";
import * as gateway from "./gateway.js";
import * as homeassistant from "./homeassistant.js";
import * as meters from "./meters.js";

const RETRY_MS = 3000;
let version = null;

function listen() {
  const stream = new EventSource("api/events");
  const on = (name, take) =>
    stream.addEventListener(name, (event) => take(JSON.parse(event.data)));
  stream.onopen = () => {
    tell("online", "live");
    gateway.notice("refused", null);
  };
  stream.onerror = () => {
    tell("offline", "no connection to the gateway");
    // The browser tries again by itself, except where it got an answer that is no stream.
    if (stream.readyState === EventSource.CLOSED) {
      stream.close();
      ask();
    }
  };
  on("info", (info) => {
    // After an update the page may be another one.
    if (version !== null && version !== info.version) location.reload();
    version = info.version;
    gateway.showInfo(info);
  });
  on("meters", (list) => {
    document.body.classList.remove("is-empty");
    meters.showMeters(list);
  });
  on("readings", meters.showReadings);
  on("availability", meters.showAvailability);
  on("clients", gateway.showClients);
  on("homeassistant", homeassistant.showAnnounced);
  on("past", gateway.showPast);
  on("event", (event) => gateway.showEvent("event", event));
  on("log", (line) => gateway.showEvent("log", line));
}

/** Asks why there is no stream, and tries again. */
async function ask() {
  const answer = await fetch("api/info").catch(() => null);
  const body = answer && !answer.ok ? await answer.json().catch(() => null) : null;
  if (body?.mistakes) {
    location.reload();
    return;
  }
  if (body?.msg) {
    tell("offline", "closed");
    gateway.notice("refused", body.msg);
    document.body.classList.add("is-empty");
  }
  setTimeout(listen, RETRY_MS);
}

function tell(state, text) {
  const node = document.getElementById("link");
  node.dataset.state = state;
  say(node, text);
}

setInterval(() => {
  meters.tick();
  gateway.tick();
}, 1000);
listen();
