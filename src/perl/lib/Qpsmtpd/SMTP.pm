package Qpsmtpd::SMTP;

# The class of `$self->qp` has this one among its parents; everything is in Qpsmtpd.

use strict;
use warnings;

use Qpsmtpd;

1;
