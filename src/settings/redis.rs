//! Where a Redis server is, as an URL says it.

use redis::{ConnectionAddr, ConnectionInfo, IntoConnectionInfo};

/// The port of Sentinels where the URL has none.
const SENTINEL_PORT: u16 = 26379;

/// A Redis server, or those who know which one it is.
#[derive(Clone)]
pub struct RedisPlace {
    /// Where it is and what it is told first.  With Sentinels only the latter counts, and whether there
    /// is TLS.
    pub(crate) server: ConnectionInfo,
    /// Those who know, and by which name.
    pub(crate) sentinels: Option<(Vec<ConnectionAddr>, String)>,
}

impl RedisPlace {
    /// Reads `redis://[[USER]:PASSWORD@]HOST[:PORT][/DB]`, the same with `rediss` for TLS,
    /// `redis+unix:///PATH[?db=DB&user=USER&pass=PASSWORD]`, and
    /// `redis+sentinel://[[USER]:PASSWORD@]HOST[:PORT],HOST[:PORT]/NAME[/DB]`, or `rediss+sentinel`.
    pub(crate) fn parse(url: &str) -> Option<RedisPlace> {
        let Some((scheme, rest)) = url.split_once("+sentinel://") else {
            return Some(RedisPlace { server: url.into_connection_info().ok()?, sentinels: None });
        };
        let (hosts, path) = rest.split_once('/')?;
        let (user, hosts) = match hosts.rsplit_once('@') {
            Some((user, hosts)) => (format!("{user}@"), hosts),
            None => (String::new(), hosts),
        };
        let (name, database) = path.split_once('/').unwrap_or((path, "0"));
        let server = format!("{scheme}://{user}sentinel.invalid/{database}");
        let sentinel = |host: &str| {
            let info = format!("redis://{host}").into_connection_info().ok()?;
            let has_port =
                host.rsplit_once(':').is_some_and(|(_, port)| port.parse::<u16>().is_ok());
            match info.addr().clone() {
                ConnectionAddr::Tcp(host, _) if !has_port => {
                    Some(ConnectionAddr::Tcp(host, SENTINEL_PORT))
                }
                known => Some(known),
            }
        };
        let sentinels = hosts.split(',').map(sentinel).collect::<Option<Vec<_>>>()?;
        let is_named = !name.is_empty() && !sentinels.is_empty();
        let server = server.into_connection_info().ok().filter(|_| is_named)?;
        Some(RedisPlace { server, sentinels: Some((sentinels, name.to_owned())) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_read() {
        let place = RedisPlace::parse("rediss://ann:s%40cret@redis.example:7000/3").unwrap();
        assert_eq!(place.server.addr().to_string(), "redis.example:7000");
        assert!(matches!(place.server.addr(), ConnectionAddr::TcpTls { .. }));
        assert_eq!(place.server.redis_settings().password(), Some("s@cret"));
        assert_eq!(place.server.redis_settings().db(), 3);
        let place = RedisPlace::parse("redis+unix:///run/redis.sock?db=2").unwrap();
        assert_eq!(place.server.addr().to_string(), "/run/redis.sock");
        let url = "redis+sentinel://:pw@[2001:db8::1],b.example:7/mymaster/5";
        let place = RedisPlace::parse(url).unwrap();
        let (sentinels, name) = place.sentinels.unwrap();
        let sentinels: Vec<_> = sentinels.iter().map(ToString::to_string).collect();
        assert_eq!(
            (sentinels.join(" "), &*name),
            ("2001:db8::1:26379 b.example:7".into(), "mymaster")
        );
        assert_eq!(
            (place.server.redis_settings().db(), place.server.redis_settings().password()),
            (5, Some("pw"))
        );
        for url in
            ["", "redis", "http://a", "redis+sentinel://a", "redis+sentinel://a/", "redis://a/x"]
        {
            assert!(RedisPlace::parse(url).is_none(), "{url}");
        }
    }
}
