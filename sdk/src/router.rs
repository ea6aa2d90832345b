//! Sends a request to a handler, by method and path.

use std::pin::Pin;

use crate::error::Error;
use crate::handler::{FromRequest, IntoResponse, Request, Response, percent_decode};

/// The routes of a service.
///
/// A pattern is a path whose segments are literal or `{name}`; `{name}` takes one segment that is not empty. Patterns
/// are tried in the order they were added. A slash at the end of a path is ignored; `HEAD` falls to `GET`. Unknown
/// paths are answered 404 and known ones with another method 405, both as JSON.
///
/// ```
/// use tessera_sdk::{Path, Router};
///
/// async fn hello(Path(name): Path) -> String {
///     format!("hello, {name}")
/// }
///
/// let router = Router::new().get("/hello/{name}", hello).get("/hello", async || "hello");
/// ```
#[derive(Default)]
pub struct Router {
    routes: Vec<Route>,
}

struct Route {
    method: &'static str,
    pattern: Pattern,
    handler: BoxHandler,
}

type BoxHandler = Box<dyn Fn(Request) -> BoxFuture>;
type BoxFuture = Pin<Box<dyn Future<Output = Response>>>;

impl Router {
    /// A router without routes.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a route for `GET` and `HEAD`.
    #[must_use]
    pub fn get<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route("GET", pattern, handler)
    }

    /// Adds a route for `POST`.
    #[must_use]
    pub fn post<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route("POST", pattern, handler)
    }

    /// Adds a route for `PUT`.
    #[must_use]
    pub fn put<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route("PUT", pattern, handler)
    }

    /// Adds a route for `DELETE`.
    #[must_use]
    pub fn delete<Args>(self, pattern: &str, handler: impl Handler<Args>) -> Self {
        self.route("DELETE", pattern, handler)
    }

    /// Adds a route for any method, upper case.
    ///
    /// # Panics
    /// If the pattern does not begin with a slash.
    #[must_use]
    pub fn route<Args>(mut self, method: &'static str, pattern: &str, handler: impl Handler<Args>) -> Self {
        let handler: BoxHandler = Box::new(move |request| Box::pin(handler.clone().call(request)));
        self.routes.push(Route { method, pattern: Pattern::new(pattern), handler });
        self
    }

    /// Answers one request.
    pub async fn handle(&self, mut request: Request) -> Response {
        match self.find(request.method(), request.path()) {
            Ok((route, params)) => {
                request.set_params(params);
                (route.handler)(request).await
            }
            Err(error) => error.into_response(),
        }
    }

    fn find(&self, method: &str, path: &str) -> Result<(&Route, Params), Error> {
        let wanted = if method == "HEAD" { "GET" } else { method };
        let mut allowed = Vec::new();
        for route in &self.routes {
            let Some(params) = route.pattern.matches(path) else { continue };
            // A route written for HEAD itself is taken as well.
            if route.method == wanted || route.method == method {
                return Ok((route, params));
            }
            allowed.push(route.method);
        }
        Err(if allowed.is_empty() { not_found(path) } else { not_allowed(method, path, allowed) })
    }
}

fn not_found(path: &str) -> Error {
    Error::not_found(format!("nothing is served at `{path}`"))
}

fn not_allowed(method: &str, path: &str, mut allowed: Vec<&'static str>) -> Error {
    if allowed.contains(&"GET") {
        allowed.push("HEAD");
    }
    allowed.sort_unstable();
    allowed.dedup();
    let allowed = allowed.join(", ");
    Error::new(405, "method_not_allowed", format!("`{path}` takes {allowed}, not {method}")).with_header("allow", allowed)
}

/// Names and values of a pattern's parameters.
type Params = Vec<(String, String)>;

#[derive(Debug, PartialEq, Eq)]
struct Pattern(Vec<Segment>);

#[derive(Debug, PartialEq, Eq)]
enum Segment {
    Literal(String),
    Param(String),
}

impl Pattern {
    fn new(pattern: &str) -> Self {
        assert!(pattern.starts_with('/'), "the pattern `{pattern}` must begin with a slash");
        Self(segments(pattern).map(Segment::new).collect())
    }

    fn matches(&self, path: &str) -> Option<Params> {
        let mut params = Params::new();
        let mut rest = segments(path);
        for segment in &self.0 {
            match (segment, rest.next()?) {
                (Segment::Literal(literal), text) if literal == text => {}
                (Segment::Param(name), text) if !text.is_empty() => params.push((name.clone(), percent_decode(text))),
                _ => return None,
            }
        }
        rest.next().is_none().then_some(params)
    }
}

impl Segment {
    fn new(text: &str) -> Self {
        match text.strip_prefix('{').and_then(|text| text.strip_suffix('}')) {
            Some(name) => Self::Param(name.to_owned()),
            None => Self::Literal(text.to_owned()),
        }
    }
}

fn segments(path: &str) -> impl Iterator<Item = &str> {
    let path = path.strip_prefix('/').unwrap_or(path);
    path.strip_suffix('/').unwrap_or(path).split('/')
}

/// An async function that answers requests: up to three arguments that implement [`FromRequest`], a result that
/// implements [`IntoResponse`]. `Args` are the types of its arguments; the compiler finds them.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no handler",
    label = "must be an async function of up to three `FromRequest` arguments that returns an `IntoResponse`"
)]
pub trait Handler<Args>: Clone + 'static {
    /// Answers one request.
    fn call(self, request: Request) -> impl Future<Output = Response> + 'static;
}

macro_rules! handler_of {
    ($($arg:ident),*) => {
        impl<F, Fut, $($arg),*> Handler<($($arg,)*)> for F
        where
            F: Fn($($arg),*) -> Fut + Clone + 'static,
            Fut: Future<Output: IntoResponse> + 'static,
            $($arg: FromRequest + 'static),*
        {
            #[allow(non_snake_case, unused_mut, unused_variables, reason = "one name for type and value; may be none")]
            async fn call(self, mut request: Request) -> Response {
                $(let $arg = match $arg::from_request(&mut request).await {
                    Ok(value) => value,
                    Err(error) => return error.into_response(),
                };)*
                self($($arg),*).await.into_response()
            }
        }
    };
}

handler_of!();
handler_of!(A);
handler_of!(A, B);
handler_of!(A, B, C);

#[cfg(test)]
mod tests {
    use futures::executor::block_on;
    use serde_json::{Value, json};

    use super::*;
    use crate::{Json, Path};

    fn router() -> Router {
        Router::new()
            .get("/", async || "root")
            .get("/items/special", async || "special")
            .get("/items/{id}", async |Path(id): Path| id)
            .put("/items/{id}", async |Path(id): Path, Json(body): Json<Value>| Json(json!({"id": id, "body": body})))
            .delete("/items/{id}", async || ())
            .get("/a/{x}/b/{y}", both)
            .post("/fail", async || Err::<(), _>(Error::bad_request("no")))
    }

    async fn both(request: Request) -> String {
        format!("{:?} {:?}", request.param("x"), request.param("y"))
    }

    fn send(request: Request) -> (u16, String) {
        let response = block_on(router().handle(request));
        let body = response.whole().expect("whole").to_vec();
        (response.status(), String::from_utf8(body).expect("text"))
    }

    fn get(target: &str) -> (u16, String) {
        send(Request::new("GET", target))
    }

    #[test]
    fn literal_and_parameter_segments_match() {
        assert_eq!(get("/"), (200, "root".into()));
        assert_eq!(get("/items/special"), (200, "special".into()));
        assert_eq!(get("/items/7?x=/y"), (200, "7".into()));
        assert_eq!(get("/a/1/b/2"), (200, "Some(\"1\") Some(\"2\")".into()));
    }

    #[test]
    fn parameters_are_decoded_after_the_path_is_split() {
        assert_eq!(get("/items/a%2Fb%20c"), (200, "a/b c".into()));
    }

    #[test]
    fn a_slash_at_the_end_is_ignored() {
        assert_eq!(get("/items/7/"), (200, "7".into()));
    }

    #[test]
    fn other_paths_are_404_as_json() {
        for path in ["/items", "/items/", "/items/7/8", "/items//"] {
            let (status, body) = get(path);
            assert_eq!(status, 404, "{path}");
            let body: Value = serde_json::from_str(&body).expect("JSON");
            assert_eq!(body["error"]["type"], "not_found_error");
        }
    }

    #[test]
    fn another_method_is_405_and_says_which_are_allowed() {
        let response = block_on(router().handle(Request::new("POST", "/items/7")));
        assert_eq!(response.status(), 405);
        assert_eq!(response.header("allow"), Some("DELETE, GET, HEAD, PUT"));
    }

    #[test]
    fn head_falls_to_get() {
        assert_eq!(send(Request::new("HEAD", "/items/7")).0, 200);
        assert_eq!(send(Request::new("HEAD", "/fail")).0, 405);
    }

    #[test]
    fn arguments_are_taken_from_left_to_right() {
        let request = Request::new("PUT", "/items/7").with_body("[1]");
        assert_eq!(send(request), (200, r#"{"body":[1],"id":"7"}"#.into()));
    }

    #[test]
    fn an_argument_that_does_not_fit_is_the_answer() {
        assert_eq!(send(Request::new("PUT", "/items/7").with_body("oops")).0, 400);
    }

    #[test]
    fn results_become_responses() {
        assert_eq!(send(Request::new("DELETE", "/items/7")), (204, String::new()));
        assert_eq!(send(Request::new("POST", "/fail")).0, 400);
    }

    #[test]
    #[should_panic(expected = "must begin with a slash")]
    fn a_pattern_without_its_slash_is_a_mistake_of_the_author() {
        let _ = Router::new().get("x", async || ());
    }
}
