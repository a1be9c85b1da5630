// What Home Assistant was told of, and what its user has deleted there.

import { element } from "./elements.js";

/** The same is retained on `meterbridge/bridge/homeassistant`. */
export function showAnnounced(overview) {
  const box = document.getElementById("announced");
  if (overview.discovery === "none") {
    box.replaceChildren(element("p", { class: "sub" },
      "Nothing is announced to Home Assistant: homeassistant.discovery is none."));
    return;
  }
  const count = overview.announced.length;
  const there = {
    online: "Home Assistant is there",
    offline: "Home Assistant has stopped",
  }[overview.status] ?? "Home Assistant has not said yet that it is there";
  const devices = count === 1 ? "1 device is announced" : `${count} devices are announced`;
  box.replaceChildren(
    element("p", { class: "sub" }, `${there}. ${devices} under ${overview.prefix}/.`),
    ...overview.deleted.map(deleted));
}

function deleted({ id, name, component }) {
  const button = element("button", { type: "button" }, "Announce again");
  button.addEventListener("click", () => announce(id, button));
  const what = component ? `${component} of ${name ?? id}` : name ?? id;
  return element("p", { class: "sub deleted" }, `${what} was deleted in Home Assistant. `, button);
}

async function announce(meter, button) {
  button.disabled = true;
  const reply = await fetch("api/bridge/announce", { method: "POST", body: JSON.stringify({ meter }) })
    .catch(() => null);
  const said = await reply?.json().catch(() => null);
  if (!reply?.ok) {
    button.disabled = false;
    button.textContent = `Not done: ${said?.error ?? said?.msg ?? "no answer"}`;
  }
}
