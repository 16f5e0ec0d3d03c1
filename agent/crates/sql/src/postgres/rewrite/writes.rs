//! Writes of relations of which something is hidden.

use super::Pass;
use super::edits::Edits;
use crate::postgres::govern::Obstacle;

impl Pass<'_> {
    pub(super) fn writes(&self, _edits: &mut Edits) -> Result<(), Obstacle> {
        Ok(())
    }
}
