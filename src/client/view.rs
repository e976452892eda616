//! `httpmq view`: looks at an unread message.

use super::stop::Stop;
use super::{connect, show};
use crate::args::View;
use crate::http::client::Server;

pub(super) async fn view(args: &View, server: &Server) -> Result<(), Stop> {
    let answer = connect(server).await?.view(&args.queue, args.position).await?;
    if answer.code != 1 {
        return Err(Stop::refusal(&args.queue, &answer));
    }
    show::write(&show::line(answer.data.get(), args.json)).map_err(Stop::output)
}
