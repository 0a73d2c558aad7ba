"""dkimpy signs or verifies the messages of a folder: see ../peers.rs."""
import glob
import sys

import dkim

what, folder, domain, selector = sys.argv[1:5]
record = open(folder + "/record", "rb").read()
algorithm = b"ed25519-sha256" if selector == "ed25519" else b"rsa-sha256"
for number, path in enumerate(sorted(glob.glob(folder + "/*." + what))):
    message = open(path, "rb").read()
    name = path.rsplit("/", 1)[1].split(".")[0]
    try:
        if what == "sign":
            key = open(folder + "/" + selector + ".dkimpy", "rb").read()
            forms = (b"relaxed", b"simple")
            field = dkim.sign(
                message, selector.encode(), domain.encode(), key,
                canonicalize=(forms[number % 2], forms[number // 2 % 2]),
                signature_algorithm=algorithm)
            open(folder + "/" + name + ".signed", "wb").write(field + message)
            print(name, "signed")
        else:
            dkim_object = dkim.DKIM(message, minkey=1024)
            good = dkim_object.verify(dnsfunc=lambda name, timeout=5: record)
            print(name, "pass" if good else "fail")
    except dkim.ValidationError as error:
        is_body = "body hash mismatch" in str(error)
        print(name, "fail" if is_body else "error", str(error).replace("\n", " "))
    except Exception as error:
        print(name, "error", type(error).__name__, str(error).replace("\n", " "))
