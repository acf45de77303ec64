// Makes the elements of the page. Texts from files (class names, paths) are written as text, never as markup.

export const byId = (id) => document.getElementById(id);
export const percent = (share, digits = 1) => `${(share * 100).toFixed(digits)}\u00a0%`;
export const ms = (value) => `${value < 10 ? value.toFixed(1) : Math.round(value)}\u00a0ms`;

// Replaces control characters, and those that change the direction of writing, by their codes.
export const visible = (text) => String(text).replace(/[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Cn}]/gu,
  (char) => `\\u${char.codePointAt(0).toString(16).padStart(4, "0")}`);

export function element(tag, text = "", attributes = {}, ...children) {
  const node = document.createElement(tag);
  if (text !== "") node.textContent = visible(text);
  for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
  node.append(...children);
  return node;
}

export const name = (text) => element("bdi", text);

export function table(target, caption, head, rows) {
  target.replaceChildren(
    element("caption", caption),
    element("thead", "", {}, element("tr", "", {}, ...head.map((text) => element("th", text, { scope: "col" })))),
    element("tbody", "", {}, ...rows.map(([first, ...rest]) => element("tr", "", {},
      element("th", "", { scope: "row" }, name(first)),
      ...rest.map((cell) => (cell instanceof Node ? element("td", "", {}, cell) : element("td", cell)))))),
  );
}
