// Elements. Everything that others have named goes in as text: there is no way to give markup.

export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith("on")) made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, String(value));
    }
  }
  made.append(...children.flat(Infinity).filter((each) => each !== null && each !== undefined));
  return made;
}

/** A name of others': set apart, so that letters that run the other way move nothing around it. */
export function name(text) {
  return el("bdi", {}, text === "" ? "(no name)" : text);
}

export function section(title, ...children) {
  const id = `s-${title.toLowerCase().replace(/[^a-z0-9]+/g, "-")}`;
  return el("section", { "aria-labelledby": id }, el("h2", { id }, title), ...children);
}

export function notes(...answers) {
  const said = [...new Set(answers.flatMap((answer) => answer.notes))];
  if (!said.length) return null;
  return el("ul", { class: "notes", "aria-label": "Notes" }, said.map((each) => el("li", {}, each)));
}

export function sentences(answer) {
  return answer.sentences.map((each) => el("p", { class: "said" }, each));
}
