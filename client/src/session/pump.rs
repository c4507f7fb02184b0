//! Gives naia its packets one at a time ([`SinglePacketGate`] explains why).
//!
//! Runs in the player client and in bots. The valve cannot separate a spawn and a despawn within one packet; for that,
//! [`crate::session::update`] ends the session with a reason instead of the process.
//!
//! It also passes naia's events to Bevy: naia's own system for that panics on an entity that is gone again by the end
//! of the update.

use bevy::{
    ecs::{
        message::Messages,
        world::{Mut, World},
    },
    prelude::Resource,
};
use naia_bevy_client::{
    ClientWrapper, DefaultClientTag, Instant,
    events::{ClientTickEvent, ConnectEvent, DisconnectEvent},
};
use naia_bevy_shared::WorldProxyMut;
use sidereal_transport::SinglePacketGate;

/// The most packets given to naia in one update; the rest waits in the transport's bounded queue. Some 15 seconds of
/// ordinary naia traffic.
const MAX_PACKETS: usize = 512;

type Tag = DefaultClientTag;

/// The valve of this client's socket.
#[derive(Resource, Clone, Default)]
pub(crate) struct PacketValve(pub(crate) SinglePacketGate);

/// Lets naia read all received packets, one by one.
pub(crate) fn pump_packets(world: &mut World) {
    let valve = world.resource::<PacketValve>().0.clone();
    world.resource_scope(|world, mut naia: Mut<ClientWrapper<Tag>>| {
        for _ in 0..MAX_PACKETS {
            valve.open_for_one();
            naia.client.receive_all_packets();
            let went_through = valve.close();
            let now = Instant::now();
            let mut ticks = naia.client.take_tick_events(&now);
            for tick in ticks.read::<naia_client::ClientTickEvent>() {
                world.resource_mut::<Messages<ClientTickEvent<Tag>>>().write(ClientTickEvent::new(tick));
            }
            naia.client.process_all_packets(world.proxy_mut(), &now);
            pass_on_events(world, &mut naia);
            if !went_through {
                break;
            }
        }
    });
}

/// Passes on the events that the library uses. Entities are found by their components ([`crate::replication::remote_entities`]), a
/// reject by the transport's status.
fn pass_on_events(world: &mut World, naia: &mut ClientWrapper<Tag>) {
    let mut events = naia.client.take_world_events();
    if events.is_empty() {
        return;
    }
    for _ in events.read::<naia_client::ConnectEvent>() {
        world.resource_mut::<Messages<ConnectEvent<Tag>>>().write(ConnectEvent::new());
    }
    for (_, reason) in events.read::<naia_client::DisconnectEvent>() {
        world.resource_mut::<Messages<DisconnectEvent<Tag>>>().write(DisconnectEvent::new(reason));
    }
}
