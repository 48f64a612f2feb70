"""The SNPE / QAIRT SDK's own tools and a phone over adb: found, started, and read.

`sdk` finds an SDK, `options` knows what each version's tools take, `commands` turns facts into argument lists,
`process` starts them, `raw` and `logs` read what they write, `adb` and `device` do the same on a phone.
"""
