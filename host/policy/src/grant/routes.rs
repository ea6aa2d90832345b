//! `[routes]`: where a component may answer besides its own `/c/NAME/*`.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{Route, Snapshot};

/// Section `[routes]` of a policy: where the component may answer besides its own `/c/NAME/*`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct RoutesGrant {
    /// Routes the component may claim. A route is a method or `*`, a space and a path; a path that ends in `/*` means
    /// everything below it: `"POST /v1/embeddings"`, `"* /ui/*"`.
    pub allow: Vec<Route>,
}

impl Snapshot {
    /// Divides the routes a component wants into those it gets and those it is refused.
    pub fn routes<'a>(&self, wanted: &'a [Route]) -> (Vec<&'a Route>, Vec<&'a Route>) {
        wanted.iter().partition(|route| self.allows_route(route))
    }

    /// Whether the component may answer there.
    pub fn allows_route(&self, route: &Route) -> bool {
        let is_own = Route::of_component(self.component()).covers(route);
        is_own || self.grants().routes.allow.iter().any(|allow| allow.covers(route))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::World;

    fn routes(texts: &[&str]) -> Vec<Route> {
        texts.iter().map(|text| text.parse().expect("a route")).collect()
    }

    #[test]
    fn routes_outside_its_own_need_a_grant() {
        let world = World::new("[routes]\nallow = [\"POST /v1/*\", \"GET /x\"]");
        let wanted =
            routes(&["POST /v1/x", "GET /v1/x", "GET /c/chat/y", "* /c/chat/*", "GET /c/other/y", "* /v1/x", "GET /x"]);
        let (given, refused) = world.policy.routes(&wanted);
        assert_eq!(given, [&wanted[0], &wanted[2], &wanted[3], &wanted[6]]);
        assert_eq!(refused, [&wanted[1], &wanted[4], &wanted[5]]);
    }

    #[test]
    fn without_a_grant_a_component_answers_below_its_own_route_only() {
        let world = World::new("");
        let wanted = routes(&["GET /c/chat", "GET /", "* /*", "GET /c/chatter"]);
        let (given, refused) = world.policy.routes(&wanted);
        assert_eq!((given, refused.len()), (vec![&wanted[0]], 3));
    }
}
