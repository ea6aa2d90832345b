// Credentials that the component may use and never sees: `tessera:secret/secret`.

import * as host from "tessera:secret/secret@0.1.0";

/** The placeholder of a secret, to be put into a header; null if there is no such secret for this component. */
export function secret(name) {
  return host.get(name);
}
