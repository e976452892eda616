//! `httpmq reset`: forgets a queue's messages and positions.

use super::stop::Stop;
use super::{connect, remark, show};
use crate::args::Reset;
use crate::http::client::Server;

pub(super) async fn reset(args: &Reset, server: &Server) -> Result<(), Stop> {
    let queue = &args.queue;
    if !args.yes {
        let text = format!("this would forget all messages and positions of the queue {queue} at {server}; add --yes");
        return Err(Stop::usage(text));
    }
    let answer = connect(server).await?.reset(queue).await?;
    if answer.code != 1 {
        return Err(Stop::refusal(queue, &answer));
    }
    remark(&format!("{queue} is empty"));
    if args.json { show::write(&show::line(answer.data.get(), true)).map_err(Stop::output) } else { Ok(()) }
}
