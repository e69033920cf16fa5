// What every page shares: sentences in four languages, numbers in the local form, the server, and
// elements that are made of text only. Names from a stranger's model are text, never markup.

const spoken = { language: "en", languages: ["en"], messages: {} };

/** The language in use. */
export function language() {
  return spoken.language;
}

/** A sentence in the language of the page; `{name}` is replaced, numbers in the local form. */
export function t(sentence, values = {}) {
  return filled(spoken.messages[sentence] || sentence, values);
}

/** A sentence with `{count}` in it, in the form that this number wants. */
export function n(one, many, count, values = {}) {
  const form = new Intl.PluralRules(spoken.language).select(count);
  const said = spoken.messages[`${one}|${form}`] || (count === 1 ? one : many);
  return filled(said, { count, ...values });
}

function filled(said, values) {
  return said.replace(/\{(\w+)\}/g, (whole, name) => {
    const value = values[name];
    if (value === undefined) return whole;
    return typeof value === "number" ? number(value) : String(value);
  });
}

/** Load the sentences; the address remembers a chosen language, so that a copy of it keeps it. */
export async function speak(chosen) {
  const asked = chosen || new URLSearchParams(location.search).get("language") || "";
  const found = await (await fetch(`api/messages?language=${encodeURIComponent(asked)}`)).json();
  Object.assign(spoken, found);
  document.documentElement.lang = spoken.language;
  if (chosen) {
    const address = new URL(location.href);
    address.searchParams.set("language", spoken.language);
    history.replaceState(null, "", address);
  }
}

const OWN_NAMES = { en: "English", ru: "Русский", tr: "Türkçe", uz: "Oʻzbekcha" };

/** A switch of languages; `changed` is called when the sentences of the new one are there. */
export function languageSwitch(changed) {
  const select = element("select", { class: "language", "aria-label": t("Language") });
  for (const one of spoken.languages) {
    const option = element("option", { value: one, lang: one }, OWN_NAMES[one] || one);
    option.selected = one === spoken.language;
    select.append(option);
  }
  select.addEventListener("change", async () => {
    await speak(select.value);
    changed();
  });
  return select;
}

/** A number in the local form: whole ones in full, others with so many significant digits. */
export function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  if (typeof value === "string") return value; // "nan", "inf"
  if (Number.isNaN(value)) return "NaN";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return formatted({}, value);
  const size = Math.abs(value);
  if (size >= 1e6 || size < 1e-3) {
    const power = Math.floor(Math.log10(size));
    const lead = formatted({ maximumSignificantDigits: digits }, value / 10 ** power);
    return `${lead}·10${superscript(power)}`;
  }
  return formatted({ maximumSignificantDigits: digits }, value);
}

/** A share of one as per cent. */
export function percent(share) {
  const said = formatted({ style: "percent", maximumSignificantDigits: 3 }, share);
  return spoken.language === "uz" ? said.replace(/\s%/, "%") : said;
}

/** A moment (what Date takes) as day and time. */
export function moment(when) {
  const date = new Date(when);
  if (Number.isNaN(date.getTime())) return "–";
  const dateStyle = spoken.language === "uz" ? "short" : "medium";
  return new Intl.DateTimeFormat(forms(), { dateStyle, timeStyle: "short" }).format(date);
}

/** Whose forms of numbers and dates are used: browsers lack the Uzbek ones, Russian's are alike. */
function forms() {
  return spoken.language === "uz" ? "ru" : spoken.language;
}

/** `-12` as `⁻¹²`. */
export function superscript(power) {
  const digits = "⁰¹²³⁴⁵⁶⁷⁸⁹";
  return String(power).replace(/./g, (c) => (c === "-" ? "⁻" : digits[Number(c)]));
}

const formats = new Map();

function formatted(options, value) {
  const key = spoken.language + JSON.stringify(options);
  if (!formats.has(key)) {
    formats.set(key, new Intl.NumberFormat(forms(), options));
  }
  return formats.get(key).format(value);
}

/** An element with attributes, listeners (`onclick: f`) and children; strings become text. */
export function element(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name.slice(2), value);
    else if (value === true) made.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) {
      made.setAttribute(name, String(value));
    }
  }
  made.append(...children.filter((child) => child !== null && child !== undefined));
  return made;
}

function address(path, query) {
  const params = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...query, language: spoken.language })) {
    for (const one of Array.isArray(value) ? value : [value]) {
      if (one !== null && one !== undefined && one !== "") params.append(name, String(one));
    }
  }
  return `api/${path}?${params}`;
}

async function answer(path, query, options) {
  let got;
  try {
    got = await fetch(address(path, query), options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Error(t("The server does not answer any more: was it stopped?"));
  }
  if (got.ok) return got;
  let said = "";
  try {
    said = (await got.json()).error;
  } catch {
    said = `${got.status} ${got.statusText}`;
  }
  const failure = new Error(said);
  failure.status = got.status;
  throw failure;
}

/** What the server says at `api/path`, as JSON. A failure is an Error whose message is a sentence. */
export async function ask(path, query = {}, options = {}) {
  return (await answer(path, query, options)).json();
}

/** The same as bytes. */
export async function askBytes(path, query = {}, options = {}) {
  return (await answer(path, query, options)).arrayBuffer();
}

/** The same, sending JSON. */
export async function tell(path, content, options = {}) {
  const body = JSON.stringify(content);
  const headers = { "content-type": "application/json" };
  return ask(path, {}, { method: "POST", body, headers, ...options });
}

/** Server-sent events: `heard(message)` for each, `state(connected)` when that changes. */
export function listen(path, query, heard, state = () => {}) {
  const source = new EventSource(address(path, query));
  source.onmessage = (event) => heard(JSON.parse(event.data));
  source.onopen = () => state(true);
  source.onerror = () => state(false);
  return source;
}
