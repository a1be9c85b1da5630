// Small pieces that the page is made of. Text from outside is only ever set as text.

/** An element with attributes and children: texts or elements; null and undefined are left out. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== null && value !== undefined && value !== false) made.setAttribute(name, value);
  }
  made.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return made;
}

/** Sets a text only where it is another one, so that a selection is not lost. */
export function say(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

const formats = new Map();

/** A number with so many decimals, as the reader writes numbers. */
export function number(value, decimals) {
  if (!formats.has(decimals)) {
    const digits = { minimumFractionDigits: decimals, maximumFractionDigits: decimals };
    formats.set(decimals, new Intl.NumberFormat(undefined, digits));
  }
  // No minus before a zero.
  return formats.get(decimals).format(Number(value.toFixed(decimals)) || 0);
}

/** How long ago, in one unit. */
export function ago(seconds) {
  const past = Math.max(0, Math.round(Date.now() / 1000 - seconds));
  if (past < 90) return `${past} s ago`;
  if (past < 90 * 60) return `${Math.round(past / 60)} min ago`;
  if (past < 36 * 3600) return `${Math.round(past / 3600)} h ago`;
  return `${Math.round(past / 86400)} days ago`;
}
