//! Random mutations of a body, and random cuts into frames, for property tests.

use proptest::{
    collection::vec,
    prelude::*,
    sample::{Index, select},
};

/// A change of a body.
#[derive(Clone, Debug)]
pub(crate) enum Mutation {
    Replace(Index, u8),
    Insert(Index, u8),
    Delete(Index, usize),
    Truncate(Index),
    /// Copies the bytes between two places to a third.
    Copy([Index; 3]),
}

/// Returns up to three changes, with bytes that are mostly of these.
pub(crate) fn mutations(usual: &'static [u8]) -> impl Strategy<Value = Vec<Mutation>> {
    let place = any::<Index>;
    let byte = || prop_oneof![6 => select(usual), 1 => any::<u8>()];
    let mutation = prop_oneof![
        4 => (place(), byte()).prop_map(|(at, byte)| Mutation::Replace(at, byte)),
        4 => (place(), byte()).prop_map(|(at, byte)| Mutation::Insert(at, byte)),
        3 => place().prop_map(|at| Mutation::Delete(at, 1)),
        1 => (place(), 2..9_usize).prop_map(|(at, len)| Mutation::Delete(at, len)),
        1 => place().prop_map(Mutation::Truncate),
        1 => [place(), place(), place()].prop_map(Mutation::Copy),
    ];
    vec(mutation, 0..4)
}

/// Applies the changes one after the other.
pub(crate) fn mutated(body: impl Into<Vec<u8>>, mutations: &[Mutation]) -> Vec<u8> {
    let mut bytes = body.into();
    for mutation in mutations {
        let len = bytes.len();
        if len == 0 {
            break;
        }
        match mutation {
            Mutation::Replace(at, byte) => bytes[at.index(len)] = *byte,
            Mutation::Insert(at, byte) => bytes.insert(at.index(len + 1), *byte),
            Mutation::Delete(at, count) => {
                let at = at.index(len);
                bytes.drain(at..len.min(at + count));
            }
            Mutation::Truncate(at) => bytes.truncate(at.index(len)),
            Mutation::Copy([from, to, at]) => {
                let (from, to) = (from.index(len), to.index(len));
                let part = bytes[from.min(to)..from.max(to)].to_vec();
                let at = at.index(len);
                bytes.splice(at..at, part);
            }
        }
    }
    bytes
}

/// Places at which to cut a body into frames.
#[derive(Clone, Debug)]
pub(crate) enum Cuts {
    Every(usize),
    At(Vec<Index>),
}

pub(crate) fn cuts() -> impl Strategy<Value = Cuts> {
    prop_oneof![
        1 => (1_usize..200).prop_map(Cuts::Every),
        1 => (200_usize..3_000).prop_map(Cuts::Every),
        2 => vec(any::<Index>(), 0..12).prop_map(Cuts::At),
    ]
}

impl Cuts {
    pub(crate) fn frames<'a>(&self, bytes: &'a [u8]) -> Vec<&'a [u8]> {
        match self {
            Self::Every(len) => bytes.chunks(*len).collect(),
            Self::At(places) => {
                let places = places.iter().map(|place| place.index(bytes.len() + 1));
                let mut places: Vec<_> = places.chain([0, bytes.len()]).collect();
                places.sort_unstable();
                let frames = places.windows(2).map(|pair| &bytes[pair[0]..pair[1]]);
                frames.collect()
            }
        }
    }
}
