// A person at a browser, by plain HTTP: follows redirects, keeps cookies, fills in the provider's forms.

const PAGES = 20;

/** Opens `url` as `login`; returns the last page: its address, status and text. Is not sent to where `until` is the beginning. */
export async function visit(url, login, { deny = false, alter = "", until = "" } = {}) {
  const cookies = new Map();
  let request = { url, method: "GET" };
  const trace = [];
  for (let page = 0; page < PAGES; page += 1) {
    if (alter && new URL(request.url).pathname === "/callback") {
      // What an attacker would change in the answer on its way.
      const changed = new URL(request.url);
      for (const [name, value] of Object.entries(alter)) changed.searchParams.set(name, value);
      request.url = changed.href;
    }
    const response = await fetch(request.url, {
      method: request.method,
      body: request.body,
      redirect: "manual",
      headers: { cookie: [...cookies].map(([name, value]) => `${name}=${value}`).join("; ") },
    });
    for (const line of response.headers.getSetCookie?.() ?? setCookies(response)) {
      const [pair, ...attributes] = line.split(";");
      const at = pair.indexOf("=");
      const [name, value] = [pair.slice(0, at).trim(), pair.slice(at + 1)];
      if (value === "" || attributes.some((it) => /expires=Thu, 01 Jan 1970/i.test(it))) cookies.delete(name);
      else cookies.set(name, value);
    }
    const location = response.headers.get("location");
    trace.push(`${request.method} ${request.url}: ${response.status}`);
    if (location) {
      request = { url: new URL(location, request.url).href, method: "GET" };
      if (until && request.url.startsWith(until)) return { url: request.url, status: response.status, text: "" };
      continue;
    }
    const text = await response.text();
    const aborted = trace.some((page) => page.includes("/abort"));
    const next = aborted ? undefined : form(text, request.url, login, deny);
    if (!next) return { url: request.url, status: response.status, text };
    request = next;
  }
  throw new Error(`no end after ${PAGES} pages: ${trace.join(", ")}`);
}

/** The form on a page, filled in; nothing when there is none. */
function form(text, url, login, deny) {
  const action = /<form[^>]*action="([^"]*)"/.exec(text)?.[1] ?? /<form[^>]*action='([^']*)'/.exec(text)?.[1];
  if (!action) return undefined;
  const target = new URL(action.replaceAll("&amp;", "&"), url).href;
  const fields = new URLSearchParams();
  for (const [input] of text.matchAll(/<input[^>]*>/g)) {
    const name = /name="([^"]*)"/.exec(input)?.[1];
    if (name) fields.set(name, /value="([^"]*)"/.exec(input)?.[1] ?? "");
  }
  if (deny && fields.get("prompt")) return { url: `${target}/abort`, method: "GET" };
  if (fields.has("login")) fields.set("login", login);
  if (fields.has("password")) fields.set("password", "any");
  return { url: target, method: "POST", body: fields };
}

/** Node.js 18 gives several cookies as one text. */
function setCookies(response) {
  const whole = response.headers.get("set-cookie");
  return whole ? whole.split(/,(?=\s*[^;,=\s]+=)/) : [];
}
