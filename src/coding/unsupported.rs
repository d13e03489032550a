//! The types of a decoder where none is compiled in: they have no values.

use std::fmt;

use bytes::Bytes;

use crate::{
    request::Reservation,
    response::{Rejection, RejectionCode},
};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Coding {}

impl Coding {
    pub(crate) fn parse(_: &str) -> Option<Self> {
        None
    }
}

#[derive(Debug)]
pub(crate) enum Decoder {}

impl Decoder {
    pub(crate) fn new(coding: Coding, _: Option<Reservation>) -> Self {
        match coding {}
    }

    pub(super) fn decode(&mut self, _: &mut Bytes) -> Result<Option<Bytes>, DecodeError> {
        match *self {}
    }

    pub(super) fn finish(&mut self) -> Result<(), DecodeError> {
        match *self {}
    }
}

#[derive(Debug)]
pub(crate) enum DecodeError {}

impl DecodeError {
    pub(crate) fn rejection(&self, _: RejectionCode) -> Rejection {
        match *self {}
    }
}

impl fmt::Display for DecodeError {
    fn fmt(&self, _: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {}
    }
}

impl std::error::Error for DecodeError {}
