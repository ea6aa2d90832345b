// Lines in the host's log: `tessera:log/log`. `console` writes there as well.

import * as host from "tessera:log/log@0.1.0";

const line = (parts) => parts.map((part) => (typeof part === "string" ? part : JSON.stringify(part) ?? String(part))).join(" ");
const writer = (level) => (...parts) => host.write(level, line(parts));

/** `log.info("…")`, and so on. Don't log what people wrote. */
export const log = { debug: writer("debug"), info: writer("info"), warn: writer("warn"), error: writer("error") };

globalThis.console ??= { ...log, log: log.info };
