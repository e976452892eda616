//! `httpmq purge`: forgets a queue's messages.

use super::stop::Stop;
use super::{connect, remark, show};
use crate::args::Purge;
use crate::http::client::{Server, Shown};

pub(super) async fn purge(args: &Purge, server: &Server) -> Result<(), Stop> {
    let queue = &args.queue;
    if !args.yes {
        return Err(Stop::usage(format!("this would forget all messages of the queue {queue} at {server}; add --yes")));
    }
    match connect(server).await?.purge(queue).await? {
        Shown::Problem { code, detail } => Err(Stop::problem(&code, &detail)),
        Shown::Data(data) => {
            remark(&format!("{queue} is empty"));
            if args.json { show::write(&show::line(data.get(), true)).map_err(Stop::output) } else { Ok(()) }
        }
    }
}
