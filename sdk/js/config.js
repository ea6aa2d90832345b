// What the operator set for the component, under `[config]` of its policy: `tessera:config/config`.

import * as host from "tessera:config/config@0.1.0";

/** Settings by key. */
export const config = {
  /** The value of a key; null if it is not set. */
  get: (key) => host.get(key),
  /** All keys and values. */
  all: () => Object.fromEntries(host.all()),
};
