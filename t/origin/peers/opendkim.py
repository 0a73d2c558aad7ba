"""libopendkim, which opendkim-testmsg is made of, signs or verifies the messages of a folder."""
import ctypes
import glob
import sys

what, folder, domain, selector = sys.argv[1:5]
library = ctypes.CDLL("libopendkim.so.11")
for name in ["dkim_init", "dkim_sign", "dkim_verify", "dkim_getresultstr", "dkim_geterror"]:
    getattr(library, name).restype = ctypes.c_void_p
pointer = ctypes.c_void_p
handle = pointer(library.dkim_init(None, None))
# Keys come from a file: DKIM_OP_SETOPT, DKIM_OPTS_QUERYMETHOD and DKIM_OPTS_QUERYINFO.
method = ctypes.c_int(1)
library.dkim_options(handle, 1, 6, ctypes.byref(method), ctypes.c_size_t(4))
path = ctypes.create_string_buffer((folder + "/keys").encode())
library.dkim_options(handle, 1, 7, path, ctypes.c_size_t(len(path.value)))
algorithm = 2 if selector == "ed25519" else 1


def fed(dkim, message):
    status = library.dkim_chunk(dkim, message, ctypes.c_size_t(len(message)))
    if status == 0:
        status = library.dkim_chunk(dkim, b"", ctypes.c_size_t(0))
    if status == 0:
        testing = ctypes.c_bool(False)
        status = library.dkim_eom(dkim, ctypes.byref(testing))
    return status


for number, path in enumerate(sorted(glob.glob(folder + "/*." + what))):
    message = open(path, "rb").read()
    name = path.rsplit("/", 1)[1].split(".")[0]
    status = ctypes.c_int(0)
    if what == "sign":
        key = open(folder + "/" + selector + ".pem", "rb").read()
        dkim = pointer(library.dkim_sign(
            handle, b"x", None, key, selector.encode(), domain.encode(), number % 2,
            number // 2 % 2, algorithm, ctypes.c_ssize_t(-1), ctypes.byref(status)))
    else:
        dkim = pointer(library.dkim_verify(handle, b"x", None, ctypes.byref(status)))
    status = fed(dkim, message)
    if status != 0:
        text = ctypes.cast(library.dkim_getresultstr(status), ctypes.c_char_p).value.decode()
        print(name, "fail" if status == 1 else "error", text)
    elif what == "sign":
        field = ctypes.create_string_buffer(4096)
        library.dkim_getsighdr(dkim, field, ctypes.c_size_t(4096), ctypes.c_size_t(16))
        lines = field.value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        out = b"DKIM-Signature: " + lines + b"\r\n" + message
        open(folder + "/" + name + ".signed", "wb").write(out)
        print(name, "signed")
    else:
        print(name, "pass")
    library.dkim_free(dkim)
