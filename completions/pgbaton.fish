function __pgbaton_nodes
    set -l config /etc/pgbaton/pgbaton.toml
    set -q PGBATON_CONFIG; and set config $PGBATON_CONFIG
    set -l before ""
    for word in (commandline -opc)
        string match -q -- '--config=*' $word; and set config (string replace -- --config= '' $word)
        test "$before" = --config; and set config $word
        set before $word
    end
    test -r $config; and awk '/^[ \\t]*\\[/ { node = /^[ \\t]*\\[\\[[ \\t]*node[ \\t]*\\]\\]/ } node && /^[ \\t]*name[ \\t]*=/ { sub(/^[^"\\047]*["\\047]/, ""); sub(/["\\047].*/, ""); print }' $config
end

# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_pgbaton_global_optspecs
    string join \n config= node= json q/quiet v/verbose color= h/help V/version
end

function __fish_pgbaton_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_pgbaton_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_pgbaton_using_subcommand
    set -l cmd (__fish_pgbaton_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c pgbaton -n "__fish_pgbaton_needs_command" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_needs_command" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_needs_command" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_needs_command" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -s V -l version -d 'Print version'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -f -a "vrrp" -d 'Elect the node that holds the virtual IP: the daemon, and questions to it'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -f -a "vip" -d 'Add, remove and show the virtual IP'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -f -a "pg" -d 'Act on the local PostgreSQL'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -f -a "cluster" -d 'Prepare, check and watch the whole cluster'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -f -a "notify" -d 'Act on what keepalived tells: promote, take the virtual IP, or stop PostgreSQL'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -f -a "demo" -d 'Run a whole cluster on this machine and let it fail over'
complete -c pgbaton -n "__fish_pgbaton_needs_command" -f -a "generate" -d 'Write man pages, completions, a configuration template, and files for systemd, keepalived, monitoring, Ansible'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -f -a "run" -d 'Run the daemon of this node in the foreground'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -f -a "status" -d 'Show the state of the running daemon'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -f -a "stats" -d 'Show the counters of the running daemon'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -f -a "probe" -d 'Send the other nodes packets that do nothing but arrive'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -f -a "resign" -d 'Make the Active node hand over to a Backup'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and not __fish_seen_subcommand_from run status stats probe resign check-config" -f -a "check-config" -d 'Check the configuration and show what it means'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from run" -l log-level -d 'Log nothing below this level' -r -f -a "error\t'What failed'
warning\t'What may fail next'
notice\t'What an operator should know: state changes, promotions'
info\t'Each step'
debug\t'Everything'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from run" -l log-format -d 'Write log lines in this form' -r -f -a "auto\t'As "journal" under systemd, otherwise as "plain"'
journal\t'With the priority in front, as sd-daemon(3) describes'
plain\t'With the time and the level in front'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from run" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from run" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from run" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from run" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from run" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from run" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from run" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from status" -l timeout -d 'Give up when the daemon hasn\'t answered after this time' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from status" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from status" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from status" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from status" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from stats" -l timeout -d 'Give up when the daemon hasn\'t answered after this time' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from stats" -l format -d 'Write the counters in this form' -r -f -a "human\t'As a table'
prometheus\t'In the text format of Prometheus'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from stats" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from stats" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from stats" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from stats" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from stats" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from stats" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from stats" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from probe" -l timeout -d 'Give up when the daemon hasn\'t answered after this time' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from probe" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from probe" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from probe" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from probe" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from probe" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from probe" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from probe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from resign" -l timeout -d 'Give up waiting for the hand-over after this time' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from resign" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from resign" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from resign" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from resign" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from resign" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from resign" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from resign" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from check-config" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from check-config" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from check-config" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from check-config" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from check-config" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from check-config" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vrrp; and __fish_seen_subcommand_from check-config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and not __fish_seen_subcommand_from up down status" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and not __fish_seen_subcommand_from up down status" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and not __fish_seen_subcommand_from up down status" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and not __fish_seen_subcommand_from up down status" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and not __fish_seen_subcommand_from up down status" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and not __fish_seen_subcommand_from up down status" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and not __fish_seen_subcommand_from up down status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and not __fish_seen_subcommand_from up down status" -f -a "up" -d 'Add the virtual IP to this machine and announce it'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and not __fish_seen_subcommand_from up down status" -f -a "down" -d 'Remove the virtual IP from this machine'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and not __fish_seen_subcommand_from up down status" -f -a "status" -d 'Show whether this machine has the virtual IP, and for how long'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -s i -l interface -d 'Add it to this interface' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -l label -d 'Give an IPv4 address this label, as ip(8) shows it' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -l lease -d 'Let the kernel remove the address after this time, in whole seconds, or "off"' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -l probe-timeout -d 'Wait this long for another machine\'s answer' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -s f -l force -d 'Add the address even if another machine answers for it'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -l no-probe -d 'Don\'t ask the network whether another machine has the address'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from up" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from down" -s i -l interface -d 'Remove it from this interface' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from down" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from down" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from down" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from down" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from down" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from down" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from down" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from down" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from status" -s i -l interface -d 'Look at this interface' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from status" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from status" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from status" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from status" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand vip; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -f -a "promote" -d 'Promote the local standby, after every guard has agreed'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -f -a "rebuild-standby" -d 'Make this node a streaming standby of the current primary: an old primary, a broken standby, an empty folder'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -f -a "fence" -d 'Stop PostgreSQL for sure and keep it from starting writable'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and not __fish_seen_subcommand_from promote rebuild-standby fence fetch-history" -f -a "fetch-history" -d 'Copy timeline history files from another server'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -s D -l data-directory -d 'The data directory of the server' -r -f -a "(__fish_complete_directories)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -l bin-directory -d 'The directory of `pg_ctl` and `pg_controldata`' -r -f -a "(__fish_complete_directories)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -s h -l host -d 'The directory of the server\'s Unix socket, or the host it listens on' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -s p -l port -d 'The port of the server' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -s U -l user -d 'The role to connect as' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -s d -l dbname -d 'The database to connect to, or a connection string' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -l max-lag -d 'Refuse if more write-ahead log than this is missing here, or is here and not yet replayed' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -l max-silence -d 'Refuse if the last word of the primary is older than this' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -l force -d 'Promote although this guard refuses (can be repeated)' -r -f -a "system-id\t'The nodes must have one system identifier'
replay-not-paused\t'Replay must not be paused'
paused\t'The cluster must not be paused by the operator'
needs-check\t'The server must not have been fenced without a look at its data since'
votes\t'The other nodes\' votes must be enough, where commits wait for standbys'
lag\t'The lag must be within --max-lag'
last-contact\t'The primary must have been heard of within --max-silence'
peer-primary\t'No other node may be a living primary'
newer-epoch\t'No other node may know a newer epoch'
vip-free\t'The virtual IP must not answer elsewhere'
proof-of-death\t'The old primary must be proved to be gone'
most-complete\t'No other node that answers may have more of the write-ahead log'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -l timeout -d 'Give up waiting for the promotion after this time [default: 30s]' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -l help -d 'Print help'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from promote" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l from -d 'Follow this node instead of the one that answers as primary with the newest term' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l method -d 'How to bring the data in line' -r -f -a "auto\t'Whatever is needed'
rewind\t'A start or `pg_rewind`, never a base backup'
basebackup\t'A base backup, unless it streams already'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -s D -l data-directory -d 'The data directory of this node' -r -f -a "(__fish_complete_directories)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l bin-directory -d 'The directory of `pg_rewind`, `pg_basebackup` and `pg_ctl`' -r -f -a "(__fish_complete_directories)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l source-host -d 'The address of the primary, or the directory of its Unix socket, instead of the configured node\'s' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l source-port -d 'The port of the primary' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -s U -l user -d 'The role to connect as' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -s d -l dbname -d 'The database to connect to' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -s p -l port -d 'The port of this node\'s server, for a folder that has no configuration yet' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l socket-directory -d 'The directory of this node\'s Unix socket, for a folder that has no configuration yet' -r -f -a "(__fish_complete_directories)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l listen-addresses -d 'The addresses this node\'s server listens on, for a folder that has no configuration yet [default: those of the primary, with this node\'s address in the place of the primary\'s]' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l slot -d 'The replication slot on the primary [default: the node\'s name]' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l rate -d 'Copy at most so much in a second, as `pg_basebackup` reads it: 32M' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l compress -d 'Compress a base backup on its way (`PostgreSQL` 15 and newer)' -r -f -a "gzip\t'Widely available, slow'
lz4\t'Fast'
zstd\t'Small'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l start-command -d 'Start the server by this shell command instead of the service manager or `pg_ctl`' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l force -d 'Do it although this check refuses (can be repeated)' -r -f -a "newer-data\t'The data here must not be newer than the primary\'s'
promise\t'The primary\'s term must be confirmed, and this node may not have promised a newer one'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l timeout -d 'Give up after this time; running it again continues [default: 24h]' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l start-only -d 'Only start the server, as a standby and with its data as it is: no node answers as a primary'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l drop-old -d 'Remove the old data once the standby streams; the list of what was lost stays'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l list-kept -d 'Show what rebuilds have kept beside the data directory'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l drop-kept -d 'Remove what rebuilds have kept beside the data directory'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l events -d 'Tell each step and its progress on standard error as lines of JSON'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from rebuild-standby" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -s D -l data-directory -d 'The data directory of the server' -r -f -a "(__fish_complete_directories)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -l fast-timeout -d 'Wait this long for a fast stop [default: that of the configuration, else 5s]' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -l immediate-timeout -d 'Wait this long for an immediate stop after that [default: that of the configuration, else 5s]' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -l reason -d 'Write this into the mark as the reason' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -l system-id -d 'Refuse unless the server is of the cluster with this system identifier' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fence" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l from -d 'Ask this node or host (default: every other node, until one answers)' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l timeline -d 'Fetch the history of this timeline, or of all that the server went through' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l to-archive -d 'Write the files into this folder, too' -r -f -a "(__fish_complete_directories)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l transport -d 'Ask in these ways, in this order' -r -f -a "replication\t'The replication protocol'
sql\t'`pg_read_binary_file()` in SQL'
ssh\t'SFTP'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -s D -l data-directory -d 'The data directory of the local server' -r -f -a "(__fish_complete_directories)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l remote-data-directory -d 'The data directory of the other server, for SSH' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -s p -l port -d 'The port of the other server' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -s U -l user -d 'The role to connect as' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l timeout -d 'Give up asking one server in one way after this time' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l no-pg-wal -d 'Don\'t write into `pg_wal` of the local data directory'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand pg; and __fish_seen_subcommand_from fetch-history" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -f -a "status" -d 'Show every node: VRRP state, role, timeline, lag, who holds the virtual IP'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -f -a "init" -d 'Prepare this node for the cluster: the primary\'s server, or a standby of it'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -f -a "check" -d 'Find what would make a failover, a rebuild or a hand-over fail, before it does'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -f -a "events" -d 'Show what the daemons have seen, decided and done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -f -a "timeline" -d 'Draw a failover as it happened'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -f -a "switchover" -d 'Hand the service to another node on purpose, without losing anything'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -f -a "pause" -d 'Begin maintenance: no daemon promotes, fences or rebuilds anything until `cluster resume`'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and not __fish_seen_subcommand_from status init check events timeline switchover pause resume" -f -a "resume" -d 'End maintenance'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -l watch -d 'Repeat until interrupted, with this pause between two looks' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -l timeout -d 'Give up on a node that hasn\'t answered after this time' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -l format -d 'Write the answer in this form' -r -f -a "human\t'As a table and the problems below it'
nagios\t'As a monitoring plugin: one line with performance data, exit status 0, 1, 2 or 3'
prometheus\t'In the text format of Prometheus, for the textfile collector'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -s o -l output -d 'Write the metrics into this file, as a whole, instead of to standard output (with --format prometheus)' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -s w -l warning -d 'Warn about a lag in this range (with --format nagios; once in bytes and once in time, as in 16MB and 10s)' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -s c -l critical -d 'Be critical about a lag in this range (with --format nagios; once in bytes and once in time)' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -l superuser -d 'Connect to the local server as this superuser' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -l timeout -d 'Give up when the questions to the primary aren\'t answered after this time; a copy may take as long as it does' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -l create -d 'Make a database cluster in an empty data directory first (initdb), if no node has a primary yet'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from init" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from check" -l timeout -d 'Give up on a node that hasn\'t answered after this time' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from check" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from check" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from check" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from check" -l fix -d 'Mend what is safe to mend: settings by ALTER SYSTEM, the mode of a password file'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from check" -l peers -d 'Have the other nodes look at their own machines too, over SSH'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from check" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from check" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from check" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -l timeout -d 'Give up on a node that hasn\'t answered over SSH after this time' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -l since -d 'Show what happened since then: a duration ago, as in 10m, or a time, as in 2026-01-02T03:04:05Z' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -l last -d 'Show this many events at most, the newest' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -l peers -d 'Ask the other nodes for their records too, over SSH'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -s a -l all -d 'Show every question and answer too'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -s f -l follow -d 'Go on, and show what happens until interrupted (each a line of JSON under --json)'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from events" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -l timeout -d 'Give up on a node that hasn\'t answered over SSH after this time' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -l id -d 'Draw the one of this name, or of this term' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -l svg -d 'Draw it as SVG into this file too' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -l peers -d 'Ask the other nodes for their records too, over SSH'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -l last -d 'Draw the last failover, hand-over or refusal (what is done without --id)'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -s l -l list -d 'List all of them'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from timeline" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from switchover" -l to -d 'The node that shall take over; the one with the highest priority when it isn\'t said' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from switchover" -l timeout -d 'How long the whole may take' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from switchover" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from switchover" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from switchover" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from switchover" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from switchover" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from switchover" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from switchover" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from switchover" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from pause" -l reason -d 'Why, for those who look at the cluster meanwhile' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from pause" -l timeout -d 'How long the whole may take' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from pause" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from pause" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from pause" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from pause" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from pause" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from pause" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from pause" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from pause" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from resume" -l timeout -d 'How long the whole may take' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from resume" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from resume" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from resume" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from resume" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from resume" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from resume" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from resume" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand cluster; and __fish_seen_subcommand_from resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -l fifo -d 'Read what keepalived tells from this pipe, which it appends to `notify_fifo_script`' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -l instance -d 'Heed only what is told of this VRRP instance or group' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -l marker -d 'Believe that keepalived is MASTER only while this machine has this address' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -l log -d 'Append log lines to this file instead of sending them to syslog' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -l no-vip -d 'Leave the virtual IP to keepalived'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -l once -d 'Look, act once, report and end, instead of going on in the background'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -s n -l dry-run -d 'Print the plan and change nothing'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand notify" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l fault -d 'What happens to the primary' -r -f -a "power\t'The host is gone from one moment to the next'
postgres\t'PostgreSQL is killed, the daemon lives'
freeze\t'Every process of the host stands still, and goes on later'
partition\t'The network of the host is cut, its processes go on'
switchover\t'Nothing breaks: the operator hands over'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l advert -d 'The time between two VRRP advertisements' -r
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l bin-directory -d 'The directory of `initdb` and `pg_ctl`' -r -f -a "(__fish_complete_directories)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l svg -d 'Write a picture of the failover to this file' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l spare -d 'Add a third host: a spare that is the second synchronous standby'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l keep -d 'Leave the cluster running and say how to reach it'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l clean -d 'Remove what an earlier demo has left, and do nothing else'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -f -a "man" -d 'Write the man pages into a folder'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -f -a "completions" -d 'Print the completions of one shell, or write those of all into a folder'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -f -a "config" -d 'Print a configuration template with every key explained'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -f -a "keepalived" -d 'Print a keepalived.conf for a node of the configured cluster'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -f -a "systemd" -d 'Print the unit of the daemon, or write all files for systemd into a folder'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -f -a "monitoring" -d 'Write examples for Prometheus, Grafana, Nagios and cron into a folder'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -f -a "fencing" -d 'Write examples of commands that switch a silent node off, for guard.fence'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and not __fish_seen_subcommand_from man completions config keepalived systemd monitoring fencing ansible" -f -a "ansible" -d 'Write an example of a role and playbooks for Ansible into a folder'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from man" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from man" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from man" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from man" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from man" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from man" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from man" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from completions" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from completions" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from completions" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from completions" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from completions" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from completions" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from completions" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from config" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from config" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from config" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from config" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from config" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from config" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from config" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from keepalived" -l style -d 'Who moves the virtual IP' -r -f -a "elector\t'The hooks, after the promotion: keepalived only elects'
classic\t'keepalived, before the promotion'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from keepalived" -l program -d 'Call this program in the hooks' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from keepalived" -l log -d 'Let the hooks log into this file instead of syslog' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from keepalived" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from keepalived" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from keepalived" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from keepalived" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from keepalived" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from keepalived" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from keepalived" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from systemd" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from systemd" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from systemd" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from systemd" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from monitoring" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from monitoring" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from monitoring" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from monitoring" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from monitoring" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from monitoring" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from monitoring" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from fencing" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from fencing" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from fencing" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from fencing" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from fencing" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from fencing" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from fencing" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from ansible" -l config -d 'Read this configuration instead of /etc/pgbaton/pgbaton.toml' -r -F
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from ansible" -l node -d 'Be this node, instead of finding out by the machine\'s addresses' -r -f -a "(__pgbaton_nodes)"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from ansible" -l color -d 'When to use colours' -r -f -a "auto\t'On a terminal, unless `NO_COLOR` is set or `TERM` is "dumb"'
always\t'Always'
never\t'Never'"
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from ansible" -l json -d 'Print exactly one JSON document on standard output'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from ansible" -s q -l quiet -d 'Print nothing but results and errors'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from ansible" -s v -l verbose -d 'Say more about what is done'
complete -c pgbaton -n "__fish_pgbaton_using_subcommand generate; and __fish_seen_subcommand_from ansible" -s h -l help -d 'Print help (see more with \'--help\')'
