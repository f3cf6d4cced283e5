//! Providers that fail, and ways to them that break: what is absorbed, what the operator is told, and that nothing is
//! lost, left behind or done twice whatever happens.

mod town;

mod needs_server {
    mod all_or_none;
    mod batch;
    mod blocks;
    mod in_parts;
    mod limits;
    mod lost;
    mod matrix;
    mod sent;
    mod storm;
    mod survey;
}
