//! Work that goes on after the answer.

/// Goes on with something after the answer of this request is sent: the client doesn't wait for it.
///
/// It needs `[limits] background_ms_max` in the component's policy, which is how long it may take. It has the rights of its
/// request until then, and counts as it does; what is not done by then, and everything where the policy gives no time at all, is
/// denied and ends with its instance. Keep what must not be lost in [`kv`](crate::kv) before the answer, and look for it later.
///
/// It is polled together with the request's other futures, on one thread.
///
/// ```no_run
/// # use tessera_sdk::{Error, Response, background, kv};
/// async fn begin() -> Result<Response, Error> {
///     kv::set("jobs", "1", "begun", kv::Expected::Nothing).await?;
///     background(async {
///         // Nobody is left to tell of an error: who asks for the job sees that it is not done.
///         let _ = kv::set("jobs", "1", "done", kv::Expected::Anything).await;
///     });
///     Ok(Response::empty(202))
/// }
/// ```
pub fn background(work: impl Future<Output = ()> + 'static) {
    drop(wit_bindgen::spawn_local(work));
}
