"""The sandbox's room in the browser: what a page sees and hears of it, and says in it.

=============  ===================================================================================
module         what
=============  ===================================================================================
``files``      the page itself, and what its browser may do with it
``room``       what happens in the sandbox, told to every page; what pages ask for
``viewer``     one page: its socket and its limits
``talk``       the seam by which whoever owns the sandbox takes part: text, interrupts, microphone
``reel``       what one avatar is about to say, as messages to pages, made once for all
``mouth``      what lips do with a sound; pure
=============  ===================================================================================
"""
