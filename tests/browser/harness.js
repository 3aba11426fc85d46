// Runs named tests in a page, and reports to the server that the page came from.

const tests = [];

export function test(name, run) {
  tests.push({ name, run });
}

export function same(found, expected, what = "value") {
  const [a, b] = [found, expected].map((value) => JSON.stringify(value, plain));
  if (a !== b) throw new Error(`${what}: ${a.slice(0, 600)} where ${b.slice(0, 600)} is expected`);
}

function plain(_key, value) {
  if (typeof value === "bigint") return `${value}n`;
  if (value instanceof Uint8Array) return `[${value}]`;
  return value;
}

/** That this ends in an error whose text contains `part`. Returns the error. */
export async function refused(run, part) {
  let result;
  try {
    result = await (typeof run === "function" ? run() : run);
  } catch (error) {
    if (String(error).includes(part)) return error;
    throw new Error(`${error} where ${JSON.stringify(part)} is expected`);
  }
  throw new Error(`${JSON.stringify(result, plain)} where an error with ${JSON.stringify(part)} is expected`);
}

/** Sends `value` as JSON to `path` of the server. */
export function post(path, value) {
  return fetch(path, { method: "POST", body: JSON.stringify(value, plain) });
}

/** Runs all tests, one after the other, and posts `[{name, error, milliseconds}]` to /report. */
export async function run() {
  const results = [];
  for (const { name, run } of tests) {
    const start = performance.now();
    let error = null;
    try {
      await run();
    } catch (caught) {
      error = `${caught}\n${caught?.stack ?? ""}`;
    }
    results.push({ name, error, milliseconds: Math.round(performance.now() - start) });
    document.body.append(Object.assign(document.createElement("p"), { textContent: `${error ?? "ok"}: ${name}` }));
  }
  await post("/report", results);
}
