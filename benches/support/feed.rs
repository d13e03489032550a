//! Model lists, the same in every run.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use fastrand::Rng;
use tower_model_routing::{Catalog, FetchFuture, Fetched, RegistrySource};

/// A source that answers at once, with one list after another.
#[derive(Debug)]
pub(crate) struct Feed {
    answers: Vec<Fetched>,
    fetches: AtomicUsize,
}

impl Feed {
    pub(crate) fn new(documents: impl IntoIterator<Item = Bytes>) -> Self {
        Self::answering(documents.into_iter().map(Fetched::document))
    }

    /// One whose lists are parsed already.
    pub(crate) fn parsed(catalogs: impl IntoIterator<Item = Arc<Catalog>>) -> Self {
        Self::answering(catalogs.into_iter().map(Fetched::catalog))
    }

    fn answering(answers: impl Iterator<Item = Fetched>) -> Self {
        Self {
            answers: answers.collect(),
            fetches: AtomicUsize::new(0),
        }
    }
}

impl RegistrySource for Feed {
    fn fetch<'a>(&'a self, _etag: Option<&'a str>) -> FetchFuture<'a> {
        let fetch = self.fetches.fetch_add(1, Ordering::Relaxed);
        let answer = self.answers[fetch % self.answers.len()].clone();
        Box::pin(async { Ok(answer) })
    }

    fn location(&self) -> String {
        "a list that is made up".into()
    }
}

/// A list of `len` models, the first of which have these names.
pub(crate) fn feed(len: usize, names: &[&str]) -> Bytes {
    let mut rng = Rng::with_seed(0x6665_6564);
    let models: Vec<_> = (0..len)
        .map(|index| {
            let name = names
                .get(index)
                .map_or_else(|| name(index), |&name| name.into());
            serde_json::json!({
                "Id": format!("0x{:064x}", u128::from(rng.u64(..)) << 64 | index as u128),
                "Owner": format!("0x{:040x}", rng.u128(..)),
                "Name": name,
                "Tags": ["LLM", "chat"],
                "CreatedAt": 1_735_000_000 + index,
                "IsDeleted": false,
                "ModelType": "LLM",
                "enrichment": { "veniceId": venice_id(index) },
            })
        })
        .collect();
    serde_json::json!({ "models": models }).to_string().into()
}

/// The name of the model with this number.
pub(crate) fn name(index: usize) -> String {
    format!("Family-{}-{}b-v{index}", index % 37, index % 405)
}

/// Its alias.
pub(crate) fn venice_id(index: usize) -> String {
    format!("venice-model-{index}")
}

/// How many models there are to look up; a trial does without the most.
pub(crate) fn catalog_sizes() -> impl Iterator<Item = usize> {
    let sizes = [40, 1_000, 100_000];
    let most = match super::is_measuring() {
        true => sizes.len(),
        false => 2,
    };
    sizes.into_iter().take(most)
}

/// The numbers of the models in no order.
pub(crate) fn shuffled(len: usize) -> Vec<usize> {
    let mut indices: Vec<usize> = (0..len).collect();
    Rng::with_seed(0x7368_7566).shuffle(&mut indices);
    indices
}
