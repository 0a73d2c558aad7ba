package Qpsmtpd::Plugin;

# First of all, so that a plugin's code sees none of the variables and pragmas of this file.
sub compiled { return eval $_[0] }

# What every Perl plugin inherits: registration, logging, what is known of the session, refusing
# now or later, karma.  The first half is about loading.

use strict;
use warnings;

use Qpsmtpd::Base;
use Qpsmtpd::Constants;

our @ISA = ('Qpsmtpd::Base');

our @hooks = qw(
    auth auth-cram-md5 auth-login auth-plain auth_parse config connect data data_headers_end
    data_post data_post_headers deny disconnect ehlo ehlo_parse helo helo_parse help logging mail
    mail_parse mail_pre noop ok post-connection post-fork pre-connection queue queue_post queue_pre
    quit rcpt rcpt_parse rcpt_pre received_line reset_transaction unrecognized_command user_config
    vrfy
);
our %hooks;
@hooks{@hooks} = (1) x @hooks;

# ----------------------------------------------------------------------------------- loading

# The class of the plugin file `$file`; each name in config/plugins has a class of its own.
sub load_file {
    my ($name, $file) = @_;
    my $short = escaped($name);
    my $class = "Qpsmtpd::Plugin::$short";
    Qpsmtpd::Plugin->compile($short, $class, $file) unless $class->can('plugin_name');
    return $class;
}

# The class of a module in Perl's path.
sub load_module {
    my ($module) = @_;
    (my $file = "$module.pm") =~ s{::}{/}g;
    require $file;
    no strict 'refs';
    *{"${module}::plugin_name"} = sub { $module } unless defined &{"${module}::plugin_name"};
    return $module;
}

# A name as part of a Perl class: `queue/qmail-queue` is `queue::qmail_2dqueue`.
sub escaped {
    my ($name) = @_;
    $name =~ s{([^A-Za-z0-9_/])}{sprintf '_%2x', ord $1}eg;
    $name =~ s{/+(\d?)}{'::' . (length $1 ? sprintf '_%2x', ord $1 : '')}eg;
    return $name;
}

my %loaded;

# The source of each class of a plugin that logs.
my %source;

sub is_loaded {
    my ($name) = @_;
    return defined $name && !ref $name && $loaded{$name};
}

sub are_loaded { @loaded{@_} = (1) x @_ }

# What Perl qpsmtpd itself has loaded, and plugins use without asking for it.
my @common = qw(
    Carp Config Data::Dumper Digest::HMAC_MD5 IO::File IO::Select IO::Socket Mail::Header
    MIME::Base64 Net::DNS POSIX Socket Sys::Hostname Time::HiRes
);

sub compile {
    my ($self, $name, $class, $file) = @_;
    open my $source, '<', $file or die "cannot read $file: $!\n";
    my $text = do { local $/; <$source> };
    close $source;
    my @wanted = grep { $text =~ /\b$_\b/ } @common;
    # Children inherit what is loaded here.
    push @wanted, 'Net::DNS' if $text =~ /->\s*(?:resolve_[a-z]+|(?:get|init)_(?:async_)?resolver)\b/;
    for my $module (@wanted) {
        (my $path = "$module.pm") =~ s{::}{/}g;
        eval { require $path };
    }
    $source{$class} = $text if $text =~ /logging/;
    my $code = join "\n", "package $class;", 'use Qpsmtpd::Constants;', 'use strict;',
        'our @ISA = qw(Qpsmtpd::Plugin);', "sub plugin_name { q[$name] }", "#line 1 \"$file\"",
        $text, '', '1;';
    # Its last statement may well be false, if it has an __END__.
    compiled($code);
    die $@ if $@;
}

# Inherits from another plugin: a Perl file in one of the plugin folders, else, or where that one
# cannot work here, a native plugin.
sub isa_plugin {
    my ($self, $parent) = @_;
    my $child = caller;
    (my $clean = $parent) =~ s/\W/_/g;
    my $class = "${child}::_isa_$clean";
    return if $class->can('plugin_name') && $child->isa($class);
    my ($file) = grep { -f } map { "$_/$parent" } Qpsmtpd::the_server()->plugin_dirs;
    my $why = defined $file ? Qpsmtpd::Host::ask('cannot_work', $file) : undef;
    if (defined $file && !$why) {
        $self->compile($self->plugin_name . "_isa_$clean", $class, $file);
    }
    else {
        my $done = eval { $self->inherit_native($class, $parent); 1 };
        die $why ? "$file cannot work here: $why\n" : $@ unless $done;
        $self->log(LOGWARN, "$file cannot work here: $why; the native '$parent' is used") if $why;
    }
    no strict 'refs';
    push @{"${child}::ISA"}, $class;
}

# A class whose methods are a native plugin's handlers.
sub inherit_native {
    my ($self, $class, $parent) = @_;
    my $given = $self->{_isa_args} || $self->{_load_args} || [];
    my ($id, @theirs) = @{ Qpsmtpd::Host::ask('isa_native', $parent, @$given) };
    no strict 'refs';
    *{"${class}::register"} = sub {
        my (undef, undef, @args) = @_;
        ($id) = @{ Qpsmtpd::Host::ask('isa_native', $parent, @args) };
    };
    @{"${class}::ISA"} = ('Qpsmtpd::Plugin');
    my $name = $self->plugin_name . "_isa_$parent";
    *{"${class}::plugin_name"} = sub { $name };
    for my $hook (@theirs) {
        *{ "${class}::" . _method_of($hook) } = sub {
            my (undef, undef, @args) = @_;
            @args = map { ref $_ && ref $_ ne 'HASH' ? Qpsmtpd::State::parts($_) : $_ } @args;
            return @{ Qpsmtpd::Host::ask('parent', $id, $hook, @args) };
        };
    }
}

# Arguments for the plugin that isa_plugin names, instead of this plugin's own.
sub set_isa_plugin_args {
    my ($self, @args) = @_;
    $self->{_isa_args} = \@args;
}

sub new {
    my ($class) = @_;
    return bless {}, ref $class || $class;
}

sub _register {
    my ($self, $qp, @args) = @_;
    local $self->{_qp} = $qp;
    $loaded{ $self->plugin_name } = 1;
    $self->{_load_args} = \@args;
    for my $step (qw(init _register_standard_hooks register)) {
        # init may name other arguments, and another plugin's register.
        my $does = $self->can($step) or next;
        $self->$does($qp, @{ $self->{_isa_args} || \@args });
    }
}

sub _register_standard_hooks {
    my ($self) = @_;
    my %method = map { ($_ => _method_of($_)) } @hooks;
    $self->register_hook($_, $method{$_}) for grep { $self->can($method{$_}) } @hooks;
}

# The method that is a plugin's handler for a hook unless it registers another.
sub _method_of {
    my ($hook) = @_;
    return 'hook_' . join '_', split /\W/, $hook;
}

# `$method` is a method's name or a code reference; with `$first` it runs before those registered
# so far.
sub register_hook {
    my ($self, $hook, $method, $first) = @_;
    die $self->plugin_name . ": there is no hook '$hook'\n" unless $hooks{$hook};
    my $run = sub {
        local $self->{_qp} = shift;
        local $self->{_hook} = $hook;
        return $self->$method(@_);
    };
    my %entry = (code => $run, name => $self->plugin_name, method => $method, object => $self);
    Qpsmtpd::Chain::add($hook, \%entry, $first);
}

# Up to which level a handler of the hook logging keeps lines, where its first statements say so and
# only init and register set the field that they look at; undef otherwise.
sub logs_up_to {
    my ($self, $method) = @_;
    my $text = $source{ ref $self };
    return undef if !defined $text || ref $method;
    my $code = $text =~ s/(?:^|(?<=\s))#.*//mgr;
    my ($start, $trace, $plugin) = $code =~ /^sub \s+ \Q$method\E \s* \{ \s*
        my \s* \( \s* \$self, \s* \$\w+, \s* (\$\w+), \s* \$\w+, \s* (\$\w+), [^;]* \) \s* = \s* \@_; /mx
        ? ($+[0], $1, $2) : return undef;
    my $own = qr/return \s+ DECLINED \s+ if \s+ defined \s+ \Q$plugin\E \s* (?:&&|and) \s*
        \Q$plugin\E \s+ eq \s+ \$self->plugin_name;/x;
    my ($field) = substr($code, $start) =~ /^ \s* (?:$own \s*)? return \s+ DECLINED \s+ if \s+
        (?: !defined \s+ \$self->\{\w+\} \s+ or \s+ )? \Q$trace\E \s+ > \s+ \$self->\{(\w+)\};/x
        or return undef;
    for my $sub (split /^(?=sub )/m, $code) {
        next if $sub =~ /^sub (?:init|register)\b/;
        return undef if $sub =~ /\b\Q$field\E\b['"]?\s*\}\s*(?:[-+.|&*\/x]|\|\||\/\/|&&|<<|>>)?=[^=~]/;
    }
    my $level = $self->{$field};
    return defined $level && $level =~ /^[0-7]\z/ ? $level : undef;
}

# --------------------------------------------------------------------------- the session

sub qp { return $_[0]{_qp} || Qpsmtpd::the_server() }
sub hook_name { return $_[0]{_hook} }
sub transaction { return Qpsmtpd::the_server()->transaction }
sub connection { return Qpsmtpd::the_server()->connection }
sub spool_dir { return Qpsmtpd::the_server()->spool_dir }
sub auth_user { return Qpsmtpd::the_server()->auth_user }
sub auth_mechanism { return Qpsmtpd::the_server()->auth_mechanism }
sub config { shift; return Qpsmtpd::the_server()->config(@_) }

# A name that is free, and a folder; both are gone after the transaction.
sub temp_file { return Qpsmtpd::Host::ask('temp_file') }
sub temp_dir { return Qpsmtpd::Host::ask('temp_dir') }

# The worker applies the plugin's argument `loglevel`.
sub log {
    my ($self, $level, @text) = @_;
    my $hook = $self->hook_name;
    return if $hook && $hook eq 'logging';
    unshift @text, $self->plugin_name . ':' if $Qpsmtpd::Chain::is_late;
    Qpsmtpd::Log::line($level, join ' ', map { defined $_ ? $_ : '' } @text);
}

sub adjust_log_level {
    my ($self, $level) = @_;
    my $wish = $self->_argument('loglevel', '');
    my ($sign, $number) = $wish =~ /^([-+]?)([0-7])$/ or return $level;
    return $number if $sign eq '';
    my $sum = $level + "$sign$number";
    return $sum < LOGEMERG ? LOGEMERG : $sum > LOGDEBUG ? LOGDEBUG : $sum;
}

# --------------------------------------------------------------------------- refusing

# Refuses by the plugin's arguments: now, later (`reject naughty`), or not at all (`reject 0`).
sub get_reject {
    my ($self, $text, $detail) = @_;
    my $wish  = $self->_argument('reject', 1);
    my $later = $wish eq 'naughty';
    my @words = ('fail', !$wish ? 'tolerated' : $later ? 'NAUGHTY' : (), $detail || ());
    $self->log(LOGINFO, join ', ', @words);
    return DECLINED unless $wish;
    $text ||= 'unspecified error';
    return $later ? $self->store_deferred_reject($text) : ($self->get_reject_type, $text);
}

my @reject_types = (
    [qr/^(?:temp|soft)$/i => DENYSOFT],
    [qr/^(?:perm|hard)$/i => DENY],
    [qr/^disconnect$/ => DENY_DISCONNECT],
    [qr/^temp_disconnect$/ => DENYSOFT_DISCONNECT],
);

sub get_reject_type {
    my ($self, $default, $type) = @_;
    $type ||= $self->_argument('reject_type', '');
    my ($known) = map { $_->[1] } grep { $type =~ $_->[0] } @reject_types;
    return $known || $default || DENY;
}

# For the plugin naughty, which refuses when it sees fit.
sub store_deferred_reject {
    my ($self, $text) = @_;
    $self->_add_to_note(naughty => "\r\n", $text);
    my @type = ('naughty_reject_type', $self->_argument('reject_type', undef));
    $self->connection->notes(@type) if !$self->connection->notes($type[0]);
    return DECLINED;
}

sub is_immune {
    my ($self) = @_;
    my $why = $self->connection->relay_client ? 'relay client'
        : $self->connection->notes('whitelisthost') ? 'whitelisted host'
        : $self->transaction->notes('whitelistsender') ? 'whitelisted sender'
        : return;
    $self->log(LOGINFO, "skip, $why");
    return 1;
}

sub is_naughty {
    my ($self, $mark) = @_;
    my $connection = $self->connection;
    return $connection->notes('naughty') unless defined $mark;
    $connection->notes($_, $mark) for qw(naughty rejected);
    my $why = $connection->notes('naughty') ? 'naughty'
        : $connection->notes('rejected') ? 'already rejected'
        : return;
    $self->log(LOGINFO, "skip, $why");
    return 1;
}

sub adjust_karma {
    my ($self, $by) = @_;
    my $connection = $self->connection;
    if ($by > 0 && ($self->hook_name || 'connect') ne 'connect') {
        my $from = join ' ', $self->plugin_name, $self->hook_name;
        my $given = $connection->notes('karma_given') || [];
        if (grep { $_ eq $from } @$given) {
            $self->log(LOGINFO, "karma $by was given already");
            return $by;
        }
        $connection->notes(karma_given => [@$given, $from]);
    }
    my $sum = $by + ($connection->notes('karma') || 0);
    $connection->notes(karma => $sum);
    $self->log(LOGINFO, "karma $by ($sum)");
    return $by;
}

sub store_auth_results {
    my ($self, $result) = @_;
    my $all = $self->_add_to_note(authentication_results => '; ', $result);
    $self->log(LOGDEBUG, "auth-results: $all");
    return;
}

# The resolver of 0.94; with `dns_timeout`, an argument of the plugin.
sub init_resolver {
    my ($self, $seconds) = @_;
    $seconds = $self->_argument('dns_timeout', 0) || $seconds;
    return $self->get_resolver($seconds ? (timeout => $seconds) : ());
}

# ------------------------------------------------------------------------------ a store

# The plugin's store, made when it is first asked for. Arguments in pairs: `class`, and what that
# class wants.
sub db {
    my ($self, @pairs) = @_;
    $self->validate_db_args(@pairs);
    require Qpsmtpd::DB;
    return $self->{db} ||= Qpsmtpd::DB->new($self->db_args(@pairs));
}

# What the store is made with: the last arguments, with the plugin's name where they have none.
sub db_args {
    my ($self, @pairs) = @_;
    $self->validate_db_args(@pairs);
    my $args = $self->{db_args} = @pairs ? {@pairs} : $self->{db_args} || {};
    $args->{name} ||= $self->plugin_name;
    $args->{cnx_timeout} ||= 1;
    return %$args;
}

# The plugin itself may stand in front of the pairs.
sub validate_db_args {
    my ($self, @pairs) = @_;
    shift @pairs if ref $pairs[0];
    die "the arguments of a store are pairs\n" if @pairs % 2;
}

sub _argument {
    my ($self, $name, $default) = @_;
    my $value = $self->{_args}{$name};
    return defined $value ? $value : $default;
}

# Puts a text behind what a note of the connection says already, and gives all of it.
sub _add_to_note {
    my ($self, $name, $between, $text) = @_;
    my $connection = $self->connection;
    return $connection->notes($name, join $between, $connection->notes($name) || (), $text);
}

sub DESTROY { }

1;
